"""Seeds from names: what a random stream is for decides what it is, never the order in which it is asked for."""

from __future__ import annotations

import hashlib


def seed_for(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed for the stream that ``names`` describe under a run's ``seed``.

    Equal arguments give equal seeds on every machine and in every Python; different ones give unrelated seeds.
    """
    words = "\x1f".join(str(word) for word in (seed, *names))
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], "big") >> 1
