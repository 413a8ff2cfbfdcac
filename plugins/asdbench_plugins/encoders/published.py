"""The published checkpoint files, by SHA-256."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from asdbench import ConfigError, PublishedWeights

BEATS = {
    "BEATs_iter1.pt": "b5f4cc10bcbff63a437c695f33389e6411513b3f7d5cdae8fb62b5005f4a1fcd",
    "BEATs_iter2.pt": "81a23e00aa4878d7e8627ded87ea697fb347c8ceffed21223e0398ed0fa34ad8",
    "BEATs_iter3.pt": "8d1b234032a9ccff353612dc6c20982346dc2968b205b79d97303eb5e77bfb34",
    "BEATs_iter3_plus_AS20K.pt": "8008b126bb5e8ab08912c60c58847ed676d32e64a5864c922356b7c2522fb2f8",
    "BEATs_iter3_plus_AS2M.pt": "d43cbfad4d7b56381c061d7a24774f908d4d94c72961f6eb1d9090ff18cd8d34",
    "BEATs_iter3_finetuned_on_AS2M_cpt1.pt": "379369a41d0b3749f746cdcea8036de506cb3aedecce84de7db0a75fda2a4fe7",
    "BEATs_iter3_finetuned_on_AS2M_cpt2.pt": "08374f1cbd49143900b351bc81cd307de386a11f8e609eb3862634e992068b55",
    "BEATs_iter3_plus_AS2M_finetuned_on_AS2M_cpt1.pt": "7f9362028ac6e5c049e8dc314d87e90e4f82a15a8e472deb56af55d7f9b34d6a",
    "BEATs_iter3_plus_AS2M_finetuned_on_AS2M_cpt2.pt": "e5815275a04b6885e7b8af63d120b29bffae2cd2225cf4915e1ec6d819d3022c",
}  # fmt: skip
"""File name -> SHA-256. The names are those of the README of BEATs, of which there are more files than digests here."""

LICENCE = "MIT"
AUDIOSET = "AudioSet{labels}, as far as generally known"
WEIGHTS: Mapping[str, PublishedWeights] = {
    digest: PublishedWeights(
        name=name,
        licence=LICENCE,
        trained_on=AUDIOSET.format(labels=" and its labels" if "finetuned" in name else ""),
    )
    for name, digest in BEATS.items()
}
"""SHA-256 -> what is known of the file."""


def check_claim(path: str, digest: str) -> None:
    """Check that a file with the name of a published one is that file.

    Raises:
        ConfigError: It has other content.
    """
    known = BEATS.get(Path(path).name, digest)
    if known != digest:
        raise ConfigError(
            f"weights={path} has the name of a published file, but SHA-256 {digest}, not {known}: download it again, or "
            "rename it if it is meant to differ"
        )


def described(path: str, digest: str) -> str:
    """Return one sentence for the record: the file, its SHA-256, and which published file it is, under which licence."""
    names = {known: name for name, known in BEATS.items()}
    which = (
        f"published as {names[digest]}, licence {LICENCE}"
        if digest in names
        else "not a published file that is known here"
    )
    return f"weights {Path(path).name}, SHA-256 {digest}: {which}"
