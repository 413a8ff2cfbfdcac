"""The file of a fitted detector: safetensors with a JSON header; no pickle, and no path that is imported.

A file may come from a stranger. Its size is bounded, its header is checked against a schema before any tensor is read, and
the method is found by its name among the installed plugins, whose code must be the code it was fitted with.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
import torch
from msgspec import UNSET, Meta, UnsetType
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from asdbench.core.documents import from_json
from asdbench.core.fingerprints import identifier
from asdbench.core.info import Info
from asdbench.core.seeding import seed_for
from asdbench.data.audio import HIGHEST_RATE_HZ, LOWEST_RATE_HZ
from asdbench.detector.detector import Detector, scorer_of
from asdbench.detector.weights import save_file
from asdbench.errors import ConfigError, DataError, blamed_on
from asdbench.machine.alarms import Rule, blocks
from asdbench.machine.conformal import Promise, percent, promise
from asdbench.machine.spectrum import bins_of
from asdbench.plugin.entries import Selector
from asdbench.plugin.registry import Registry
from asdbench.recipes.recipe import Recipe
from asdbench.recipes.resolve import resolve

FORMAT = 1
LARGEST = 4 << 30
"""Bytes of a detector file that is read."""
LARGEST_HEADER = 4 << 20
"""Bytes of its header."""
UNKNOWN = "0" * 16
"""In place of a hash until it is known."""
SCORES, CLAIMS, LEVELS = "calibration/score", "calibration/claim", "normal/level"
LEARNED = "detector/"
_Name = Annotated[str, Meta(min_length=1, max_length=200)]
_Hash = Annotated[str, Meta(pattern="^[0-9a-f]{16,64}$")]
_Share = Annotated[float, Meta(gt=0, lt=1)]


class Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a detector file says of itself."""

    format: Literal[1] = 1
    name: _Name
    """Of the machine."""
    method: _Name
    options: Annotated[dict[_Name, Annotated[str, Meta(max_length=4096)]], Meta(max_length=200)]
    """Options of the method that the user set, as typed."""
    code: _Hash
    """Hash of the method with every option and of the code behind it."""
    versions: Annotated[dict[_Name, _Name], Meta(max_length=200)]
    """Of asdbench and torch when it was fitted, for messages."""
    sample_rate: Annotated[int, Meta(ge=LOWEST_RATE_HZ, le=HIGHEST_RATE_HZ)]
    channel: Annotated[int, Meta(ge=0, le=1000)] | Literal["mean", "loudest"]
    length: Annotated[int, Meta(ge=1, le=1 << 30)]
    """Samples of a segment."""
    claims: Annotated[list[_Name], Meta(min_length=1, max_length=10)]
    """Columns of recordings that name their class; the last one alone where all are of one machine type."""
    classes: Annotated[list[_Name], Meta(min_length=1, max_length=10_000)]
    """The user's machines first, then those of the background."""
    own: Annotated[int, Meta(ge=1, le=10_000)]
    """How many classes are the user's."""
    false_alarms: _Share
    """The false-alarm rate that was asked for."""
    confidence: _Share
    usual: Annotated[int, Meta(ge=1, le=1 << 30)]
    """Most segments of a held-out recording."""
    recordings: Annotated[int, Meta(ge=1)]
    """Own recordings that the detector was trained on."""
    data: _Hash
    """Hash of the samples of these recordings."""
    seed: Annotated[int, Meta(ge=0)]
    content: _Hash = UNKNOWN
    """Hash of all else in the file."""
    alarms: Annotated[list[Rule], Meta(min_length=1, max_length=10_000)] | UnsetType = UNSET
    """For a stream of recordings, the rule of each of the user's machines; unset in files without."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnDetector:
    """A fitted detector with the scores of held-out normal recordings."""

    header: Header
    detector: Detector
    scores: NDArray[np.float64]
    """Of held-out normal recordings, ``[n]``."""
    claims: NDArray[np.int64]
    """Class of each of these, ``[n]``."""
    levels: NDArray[np.float32]
    """Of the training recordings of each of the user's machines, at each frequency, ``[own, bins]``; see ``spectrum``."""

    def normal(self, claim: int) -> NDArray[np.float64]:
        """Return the scores of held-out recordings of one class that count as independent.

        If its alarms take neighbours as dependent, these are the largest scores of blocks of neighbours.
        """
        rule, scores = self.rule(claim), self.in_order(claim)
        return scores if rule is None else blocks(scores, apart=rule.apart)

    def in_order(self, claim: int) -> NDArray[np.float64]:
        """Return the scores of all held-out recordings of one class, in the order of their names."""
        return np.asarray(self.scores[self.claims == claim])

    def rule(self, claim: int) -> Rule | None:
        """Return when a stream of recordings of one class raises an alarm; None: it was fitted without ``--alarms``."""
        return None if isinstance(self.header.alarms, UnsetType) else self.header.alarms[claim]

    def promise(self, claim: int) -> Promise:
        """Return what the held-out recordings of one class can promise."""
        wanted, confidence = self.header.false_alarms, self.header.confidence
        return promise(len(self.normal(claim)), rate=wanted, confidence=confidence)

    def stream(self, claim: int) -> str:
        """Return what raises an alarm in a stream of recordings of one class, and what it promises; empty: nothing."""
        rule, promised = self.rule(claim), self.promise(claim)
        confidence = f"with {percent(promised.confidence)} confidence"
        return "" if rule is None else rule.sentence(promised.rate, confidence=confidence)

    def save(self, file: Path) -> None:
        """Write the file.

        Raises:
            RunError: The disk is full or not writable.
        """
        tensors = _all_tensors(self)
        header = msgspec.structs.replace(self.header, content=digest_of(self.header, tensors))
        save_file(tensors, file, note=msgspec.json.encode(header).decode())


def load(file: Path, registry: Registry, *, device: str) -> OwnDetector:
    """Read a detector file.

    Raises:
        DataError: It is missing, too large, truncated or edited, its header does not fit the schema, or it was fitted by
            another version of asdbench or of the method.
        PluginError: No plugin offers the method.
        ConfigError: The method has no such option.
    """
    header, tensors = _read(file)
    if digest_of(header, tensors) != header.content:
        raise DataError(f"{file} is damaged or was edited: its content is not what was written")
    recipe = recipe_of(registry, Selector(header.method, header.options))
    if (code := code_of(recipe)) != header.code:
        fitted = ", ".join(f"{name} {version}" for name, version in header.versions.items())
        raise DataError(
            f"{file} was fitted by other code of {header.method!r} ({fitted}; hash {header.code}, here {code}), whose "
            "scores may differ; install that version, or fit the detector again"
        )
    claims, scores = _calibration(file, header, tensors=tensors)
    levels = _levels(file, header, tensors=tensors)
    with blamed_on(f"method {header.method!r} cannot be built for {file}"):
        detector = build(recipe, header, device=device)
    learned = {
        name.removeprefix(LEARNED): value for name, value in tensors.items() if name.startswith(LEARNED)
    }
    try:
        detector.restore(learned)
    except RuntimeError as error:
        why = " ".join(str(error).split())  # torch lists one tensor a line
        raise DataError(f"{file} does not hold what {header.method!r} has learned: {why}") from error
    return OwnDetector(header=header, detector=detector, scores=scores, claims=claims, levels=levels)


def recipe_of(registry: Registry, selector: Selector) -> Recipe:
    """Return the method with every option; raises the errors of ``resolve``.

    Raises:
        ConfigError: An option names a file, or scores depend on one another.
    """
    # A detector is one file. One from a stranger could otherwise choose what a method loads from this machine's disk.
    for name, value in selector.options.items():
        if os.sep in value or Path(value).is_file():
            raise ConfigError(
                f"{selector.name}: the option {name}={value} names a file, which a detector file would not hold; use a "
                "method that needs none"
            )
    recipe = resolve(registry, selector, dataset="folder")
    if taken := scorer_of(recipe).uses_test_set:
        raise ConfigError(
            f"{recipe.label}: {taken}, but a detector file scores one recording at a time; choose an option or a scorer "
            "that looks at each recording alone"
        )
    return recipe


def code_of(recipe: Recipe) -> str:
    """Return a hash of all that scores depend on besides the recordings."""
    return identifier(recipe.trained(), recipe.scored())


def build(recipe: Recipe, header: Header, *, device: str) -> Detector:
    """Build an unfitted detector.

    Raises:
        ConfigError: The options do not fit the length of the recordings.
    """
    torch.manual_seed(seed_for(header.seed, "initialisation"))
    # Other machines are negatives without a class for a method that takes them so.
    classes = header.classes[: header.own] if recipe.auxiliary else header.classes
    info = Info(
        item_shape=(header.length,), sample_rate=header.sample_rate, device=device, classes=tuple(classes)
    )
    return Detector(recipe, info)


def digest_of(header: Header, tensors: Mapping[str, Tensor]) -> str:
    """Return a hash of the header, its own hash aside, and of names, types, shapes and values."""
    plain = msgspec.structs.replace(header, content=UNKNOWN)
    digest = hashlib.sha256(msgspec.json.encode(plain, order="sorted"))
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _all_tensors(own: OwnDetector) -> dict[str, Tensor]:
    learned = {LEARNED + name: value for name, value in own.detector.tensors().items()}
    known = {SCORES: own.scores, CLAIMS: own.claims, LEVELS: own.levels}
    return learned | {name: torch.from_numpy(values) for name, values in known.items()}


def _read(file: Path) -> tuple[Header, dict[str, Tensor]]:
    _check_size(file)
    try:
        with safe_open(file, framework="pt", device="cpu") as opened:
            header = _header(file, (opened.metadata() or {}).get("note", ""))
            # The library has checked that all tensors lie within the file, so their size is bounded by its own.
            return header, {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as error:
        raise DataError(f"{file} is truncated, damaged or not a detector file: {error}") from error


def _check_size(file: Path) -> None:
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            header = int.from_bytes(opened.read(8), "little")
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}") from error
    if size > LARGEST:
        raise DataError(f"{file} has {size} bytes; a detector file has at most {LARGEST}")
    if header > LARGEST_HEADER:
        raise DataError(
            f"{file} is not a detector file: its header would have {header} bytes, and has at most {LARGEST_HEADER}"
        )


def _header(file: Path, text: str) -> Header:
    if not text:
        raise DataError(
            f"{file} is not a detector file: it has no header; `asdbench fit` writes detector files"
        )
    try:
        found = from_json(text, _Format).format
        if found != FORMAT:
            raise DataError(
                f"{file} has format {found}, but this version of asdbench reads format {FORMAT}; install the version that "
                "wrote it, or fit the detector again"
            )
        header = from_json(text, Header)
    except msgspec.MsgspecError as error:
        raise DataError(f"the header of {file} is wrong: {error}") from error
    if header.own > len(header.classes):
        raise DataError(
            f"the header of {file} is wrong: {header.own} own classes among {len(header.classes)} classes"
        )
    if not isinstance(header.alarms, UnsetType) and len(header.alarms) != header.own:
        raise DataError(
            f"the header of {file} is wrong: rules of alarms for {len(header.alarms)} of {header.own} classes"
        )
    return header


class _Format(msgspec.Struct):
    """The one field that every format has."""

    format: int


def _calibration(
    file: Path, header: Header, *, tensors: Mapping[str, Tensor]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    scores, claims = tensors.get(SCORES), tensors.get(CLAIMS)
    if scores is None or claims is None:
        raise DataError(f"{file} has no scores of held-out recordings")
    right = (scores.dtype, claims.dtype, scores.ndim) == (torch.float64, torch.int64, 1)
    if not right or scores.shape != claims.shape or not bool(torch.isfinite(scores).all()):
        raise DataError(
            f"the scores of held-out recordings in {file} must be finite float64 [n] with int64 classes [n], found "
            f"{scores.dtype} {list(scores.shape)} and {claims.dtype} {list(claims.shape)}"
        )
    missing = set(range(header.own)) - set(claims.tolist())
    if missing:
        raise DataError(f"{file} has no held-out recording of {header.classes[min(missing)]!r}")
    return claims.numpy(), scores.numpy()


def _levels(file: Path, header: Header, *, tensors: Mapping[str, Tensor]) -> NDArray[np.float32]:
    levels, shape = tensors.get(LEVELS), (header.own, bins_of(header.sample_rate))
    if levels is None:
        raise DataError(f"{file} has no levels of normal recordings; fit the detector again")
    right = levels.dtype == torch.float32 and tuple(levels.shape) == shape
    if not right or not bool((torch.isfinite(levels) & (levels >= 0)).all()):
        raise DataError(
            f"the levels of normal recordings in {file} must be finite float32 {list(shape)} >= 0, found {levels.dtype} "
            f"{list(levels.shape)}"
        )
    return levels.numpy()
