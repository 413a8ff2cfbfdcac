"""Damages the content of files: bytes anywhere, numbers in headers, values in JSON documents, cells of tables."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, MutableMapping, MutableSequence
from random import Random
from typing import Any

MOST_EDITS = 4
WORDS = (
    0,
    1,
    2,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63 - 1,
    2**63,
    2**64 - 1,
)
"""Numbers that headers do not expect: zero, the largest ones of each size, and the first ones beyond."""
VALUES = (
    None, True, 0, -1, 1, 2**31, 2**63, 2**64, 10**400, 1e308, -0.5, float("nan"), float("inf"), "", "0", "a,b",
    "é\u202e\0", "../../x", "/etc/passwd", "x" * 5000, [], [[]], {}, {"": None}, [None] * 300,
)  # fmt: skip
"""Values that a document does not expect."""
SNIPPETS = (
    b"\0",
    b"\xff" * 8,
    b"\n",
    b"\r",
    b'"',
    b",",
    b";",
    b"\t",
    b"[",
    b"{",
    b"=",
    b"nan",
    b"1e999",
    b"\xef\xbb\xbf",
    b"-",
    b"..",
    b"/",
)


def damaged(content: bytes, random: Random) -> bytes:
    """Return the content with one to a few changes anywhere."""
    whole = bytearray(content)
    for _ in range(random.randrange(MOST_EDITS) + 1):
        random.choice(EDITS)(whole, random)
    return bytes(whole)


def damaged_document(content: bytes, random: Random) -> bytes:
    """Return a JSON document in which some values are removed or replaced by unexpected ones."""
    document: Any = [json.loads(content)]  # in a list, so that the document itself has a place too
    for _ in range(random.randrange(MOST_EDITS) + 1):
        places = list(_places(document))
        holder, key = places[random.randrange(len(places))]
        match random.randrange(4):
            case 0 if holder is not document:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[str(random.choice(VALUES))[:80]] = holder.pop(key)
            case _:
                holder[key] = copy.deepcopy(random.choice(VALUES))
    return json.dumps(document[0]).encode("utf-8", "surrogatepass")


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, MutableMapping | MutableSequence):
        keys = list(value) if isinstance(value, MutableMapping) else range(len(value))
        for key in keys:
            yield value, key
            yield from _places(value[key])


def _flip(whole: bytearray, random: Random) -> None:
    start = _place(whole, random)
    whole[start : start + 1] = bytes(byte ^ 1 << random.randrange(8) for byte in whole[start : start + 1])


def _number(whole: bytearray, random: Random) -> None:
    size, order = random.choice((1, 2, 4, 8)), random.choice(("little", "big"))
    start = _place(whole, random)
    value = random.choice(WORDS) % 2 ** (8 * size)
    whole[start : start + size] = value.to_bytes(size, "little" if order == "little" else "big")


def _cut(whole: bytearray, random: Random) -> None:
    del whole[_place(whole, random) :]


def _remove(whole: bytearray, random: Random) -> None:
    start = _place(whole, random)
    del whole[start : start + random.choice((1, 2, 4, 16, 64))]


def _insert(whole: bytearray, random: Random) -> None:
    start = _place(whole, random)
    whole[start:start] = random.choice(SNIPPETS)


def _repeat(whole: bytearray, random: Random) -> None:
    start = _place(whole, random)
    piece = bytes(whole[start : start + random.choice((1, 8, 64))])
    whole[start:start] = piece * random.choice((1, 2, 50))


def _move(whole: bytearray, random: Random) -> None:
    first, second = _place(whole, random), _place(whole, random)
    whole[first : first + 8] = bytes(whole[second : second + 8])


def _place(whole: bytearray, random: Random) -> int:
    # Headers stand at the beginning of most formats and at the end of zip and parquet, and are a small share of the bytes.
    near = min(len(whole), 128)
    match random.randrange(4):
        case 0:
            return random.randrange(near + 1)
        case 1:
            return len(whole) - random.randrange(near + 1)
        case _:
            return random.randrange(len(whole) + 1)


EDITS: tuple[Callable[[bytearray, Random], None], ...] = (
    _flip,
    _number,
    _cut,
    _remove,
    _insert,
    _repeat,
    _move,
)
