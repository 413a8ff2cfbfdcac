"""Finds the clips of a folder of scores in their dataset, by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from asdbench import (
    ANOMALY,
    NORMAL,
    ConfigError,
    DataError,
    GradedDataset,
    Registry,
    Row,
    Selector,
    config_of,
    configure,
)
from asdbench_leaderboards.challenge.scorefiles import ClipScore


def open_graded(
    registry: Registry, selector: Selector, *, part: Literal["dev", "eval"] | None
) -> GradedDataset:
    """Return a dataset with its option ``test`` set to the requested part; None: as its options say.

    Raises:
        ConfigError: Its clips cannot be identified by name, or it has no such part.
    """
    name = selector.name
    config = config_of(registry.build("dataset", name))
    if not hasattr(config, "graded"):
        known = [
            other
            for other in registry.names("dataset")
            if hasattr(config_of(registry.build("dataset", other)), "graded")
        ]
        raise ConfigError(
            f"scores of {name} cannot be graded: its clips have no official names that give their section "
            f"(datasets that can be graded: {', '.join(known) or 'none'})"
        )
    options = dict(selector.options)
    if part is not None:
        wanted = _test_option(config, part, dataset=name)
        if options.setdefault("test", wanted) != wanted:
            raise ConfigError(
                f"--part {part} means test={wanted}, but the options of the dataset set test={options['test']}"
            )
    dataset: GradedDataset = configure(config, options, of=name)
    return dataset


def identified(clips: Sequence[ClipScore], *, dataset: GradedDataset, root: Path) -> list[Row]:
    """Return the row of every clip, from its name and the ground truth under ``root``.

    Raises:
        DataError: A clip is not of the dataset, is listed twice, or under a release, section, domain or label that is
            not its own; the message names the file and line.
    """
    rows = _rows(dataset, clips, root=root)
    name = dataset.card.name
    for clip, row in zip(clips, rows, strict=True):
        _check(clip, row, dataset=name)
    _check_once(clips, rows)
    return rows


def renamed(scores: Sequence[ClipScore], rows: Sequence[Row]) -> list[str]:
    """Return a note if clips are listed under names that are neither the release's nor the manuals'."""
    pairs = [(clip.clip, row.source.name) for clip, row in zip(scores, rows, strict=True)]
    # The manuals say section_03_test_0000.wav for the section_03_0000.wav of the ground truth.
    other = [
        (name, official) for name, official in pairs if official not in (name, name.replace("_test_", "_"))
    ]
    if not other:
        return []
    name, official = other[0]
    return [
        f"{len(other):,} of {len(rows):,} clips have other names than in the release: {name} is {official}"
    ]


def _test_option(config: type[Any], part: str, *, dataset: str) -> str:
    hint = get_type_hints(config).get("test")
    values = [str(value) for value in get_args(hint)]
    # 2020 calls the part `evaluation`, later releases `eval`.
    found = [value for value in values if value.startswith(part)]
    if len(found) != 1:
        raise ConfigError(
            f"{dataset} has no part {part!r} to test on (values of its option test: {', '.join(values) or 'none'})"
        )
    return found[0]


def _rows(dataset: GradedDataset, scores: Sequence[ClipScore], *, root: Path) -> list[Row]:
    names = [(clip.machine, clip.clip) for clip in scores]
    try:
        return list(dataset.graded(root, names))
    except DataError:
        start, stop = 0, len(names)  # halve the range until it holds only the first refused name
        while stop - start > 1:
            middle = (start + stop) // 2
            if _is_graded(dataset, names[start:middle], root=root):
                start = middle
            else:
                stop = middle
        try:
            dataset.graded(root, names[start:stop])
        except DataError as error:
            raise DataError(f"{scores[start].where}: {error}") from error
        raise


def _is_graded(dataset: GradedDataset, names: Sequence[tuple[str, str]], *, root: Path) -> bool:
    try:
        dataset.graded(root, names)
    except DataError:
        return False
    return True


def _check(clip: ClipScore, row: Row, *, dataset: str) -> None:
    """Refuse a clip listed under a release, section, domain or label that is not its own."""
    if clip.release and clip.release != dataset:
        raise DataError(f"{clip.where}: the file is of {clip.release}, but these are clips of {dataset}")
    for name, value in (("section", clip.section), ("domain", clip.domain)):
        known = row.columns.get(name)
        if value is not None and known is not None and value != known and known != "unknown":
            raise DataError(
                f"{clip.where}: {clip.machine}/{clip.clip} is listed under {name} {value}, but belongs to {name} {known}"
            )
    # An empty cell claims nothing and agrees with any label.
    label = {"": row.label, "0": NORMAL, "1": ANOMALY}.get(clip.is_anomaly)
    if label is None and clip.is_anomaly:
        raise DataError(f"{clip.where}: is_anomaly must be 0 or 1, got {clip.is_anomaly!r}")
    if row.label is not None and label != row.label:
        raise DataError(
            f"{clip.where}: is_anomaly is {clip.is_anomaly}, but in {dataset} {clip.machine}/{clip.clip} is "
            f"{'an anomaly' if row.label == ANOMALY else 'normal'}"
        )


def _check_once(scores: Sequence[ClipScore], rows: Sequence[Row]) -> None:
    """Refuse a clip that is listed under two spellings of its name."""
    first: dict[str, ClipScore] = {}
    for clip, row in zip(scores, rows, strict=True):
        other = first.setdefault(str(row.source), clip)
        if other is not clip:
            raise DataError(
                f"{clip.where}: {clip.machine}/{clip.clip} is the same clip as {other.clip} in {other.where}"
            )
