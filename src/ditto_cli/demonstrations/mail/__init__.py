"""Emails: the message, its quotes and signatures, and archives of many."""
