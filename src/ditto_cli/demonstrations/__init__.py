"""A folder of a person's texts -> `SourceText`s -> `Demonstration`s, and the ditto.yaml beside them.

Also what makes such a folder of mail archives and documents, and the audit of what is in it. Files and words only: no
model, no torch. Everything that cannot be used is said, by name and with the reason.
"""
