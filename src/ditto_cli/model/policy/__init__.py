"""A base in memory with adapters: sampling and scoring."""
