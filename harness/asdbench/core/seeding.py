"""Seeds from names: the purpose of a random stream determines it, never the order in which streams are created."""

from __future__ import annotations

import hashlib


def seed_for(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed for the stream that ``names`` describe under a run's ``seed``.

    Equal arguments give equal seeds on every machine and in every Python; different ones give unrelated seeds.
    """
    # The separator, which names do not contain, keeps ("a", "b") and ("ab",) apart.
    words = "\x1f".join(str(word) for word in (seed, *names))
    # 63 bits, because torch takes signed 64-bit seeds.
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], "big") >> 1
