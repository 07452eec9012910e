"""The method room."""
