"""An adapter, or it and its base, in the forms that other programs read; and the proof that they write the same."""
