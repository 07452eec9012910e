"""Readers of one format each: the bytes of a file -> the texts in it. Mail is read in `mail`, not here."""
