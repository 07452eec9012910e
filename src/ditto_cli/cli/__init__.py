"""The command line: arguments in, calls to the rooms below, and what they answer shown. Only `api` imports it."""
