"""Voices behind an OpenAI-compatible API on this machine."""
