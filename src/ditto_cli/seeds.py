"""One seed for a run, and from it an independent one for every purpose; so no draw depends on the order of others."""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed from the run's seed and what the draw is for, e.g. `derive_seed(0, "sample", 2, "a.md", 5)`."""
    text = "\x1f".join([str(seed), *(str(part) for part in purpose)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
