"""ditto: make a language model write like one person, from fewer than ten of that person's own texts."""

__version__ = "0.1.0"
