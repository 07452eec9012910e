"""Seeds: one per purpose, the same on every machine, and within what torch takes."""

import hashlib

from ditto_cli.seeds import derive_seed


def test_derive_seed_is_the_documented_hash_whatever_python_hashes_strings_to():
    # BLAKE2b of the parts joined by the unit separator, 8 bytes big-endian, without the lowest bit.
    digest = hashlib.blake2b(b"7\x1fsample\x1f2\x1fa.md\x1f5", digest_size=8).digest()
    assert derive_seed(7, "sample", 2, "a.md", 5) == int.from_bytes(digest, "big") // 2


def test_every_part_of_the_purpose_matters():
    purposes = [
        (0, "sample", 1, 23),
        (0, "sample", 12, 3),
        (0, "sample", 1, 2),
        (1, "sample", 1, 23),
        (0, "watch", 1, 23),
    ]
    seeds = {derive_seed(*purpose) for purpose in purposes}
    assert len(seeds) == len(purposes)
    assert all(0 <= seed < 2**63 for seed in seeds)
