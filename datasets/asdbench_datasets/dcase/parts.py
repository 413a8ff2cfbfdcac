"""Values that describe a release of sections: its machine types, where its parts are and how its clips are named."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from asdbench import ANOMALY, DataError

UNKNOWN = "unknown"
"""Domain of a clip if neither its name nor the ground truth gives it."""
DOMAINS = ("source", "target")
TRAINING = frozenset({"train", "additional", "supplemental"})
"""Names of the parts whose clips are for training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Where a release puts clips of one kind."""

    name: str
    folder: str
    """``dev_data`` or ``eval_data``."""
    archives: str
    """Which archives it comes in."""
    patterns: Mapping[str, re.Pattern[str]]
    """Folder of clips below the machine type -> pattern of the clip names in it."""
    example: str

    @property
    def trains(self) -> bool:
        """Whether its clips are for training."""
        return self.name in TRAINING

    def place_of(self, machine: str) -> str:
        """Return an example of the path of a clip, relative to the folder of the release."""
        return f"{self.folder}/{machine}/{next(iter(self.patterns))}/{self.example}"

    def fields_of(self, folder: Path, name: str, *, scored: str = "") -> dict[str, str]:
        """Return what the name of a clip gives: its section and perhaps its label, domain and attributes.

        Args:
            folder: Where the clip is, or would be.
            name: Its file name.
            scored: Machine type and name of a clip that someone has scored, which need not be on disk; empty: it is.

        Raises:
            DataError: The name is not of the release, or it is of an anomalous clip in a training part.
        """
        match = self.patterns[folder.name].fullmatch(name)
        if match is None and scored:
            raise DataError(
                f"{scored} does not have a clip name of this release and part (for example {self.example}); scores of "
                "another dataset or part need another -d or --part"
            )
        if match is None:
            raise DataError(
                f"{folder / name} does not have a clip name of this release (for example {self.example}); "
                "move it elsewhere"
            )
        # An optional group that did not match is None, the label of a secret 2020 clip is empty.
        fields = {group: value for group, value in match.groupdict().items() if value}
        if self.trains and fields.get("label") == ANOMALY:
            raise DataError(
                f"{folder / name} is an anomalous clip in a training folder, where all clips are normal"
            )
        return fields


@dataclass(frozen=True, kw_only=True)
class Release:
    """What distinguishes one release from the others."""

    name: str
    title: str
    homepage: str
    licence: str
    citation: str
    metrics: str
    dev_machines: tuple[str, ...]
    eval_machines: tuple[str, ...]
    dev_sections: tuple[str, ...] = ("00", "01", "02")
    eval_sections: tuple[str, ...] = ("03", "04", "05")
    family: str = "dcase"
    """Package whose folder ``indexes`` has the tables of the release."""
    domain_known: bool = False
    """Whether the name of a test clip gives its domain at run time; source and target then have separate folders."""
    evaluator: str = ""
    """Where its ground truth is fetched from: GitHub owner, repository and folder in it; empty: nowhere."""
    truth_form: Literal["pair", "names"] = "pair"
    """Form of the ground truth where names give no domain; see ``truth``."""
    truth_listing: str = ""
    """A file of ground truth for all machine types; see ``Truth.listing``."""
    clip_s: int = 10
    """Length of a clip in seconds; where types differ, of most of them."""
    channels: int = 1
    """Of each clip."""
    train_items: Mapping[str, int] = field(default_factory=dict)
    """Official number of training clips in each section, by domain."""
    counted: tuple[str, ...] = ()
    """Training parts for which ``train_items`` is certain."""
    test_items: int = 0
    """Official number of development test clips for each section, domain and label; 0: not certain."""
    evaluation_items: int = 0
    """Official number of evaluation clips in each section; 0: not certain."""

    @property
    def machines(self) -> tuple[str, ...]:
        """All machine types."""
        return tuple(dict.fromkeys((*self.dev_machines, *self.eval_machines)))

    def machines_of(self, part: Part) -> tuple[str, ...]:
        """Return the machine types in a part."""
        return self.dev_machines if part.folder == "dev_data" else self.eval_machines

    def sections_of(self, part: Part) -> tuple[str, ...]:
        """Return the sections in a part."""
        return self.dev_sections if part.folder == "dev_data" else self.eval_sections

    @functools.cached_property
    def parts(self) -> tuple[Part, ...]:
        """All parts, training parts first; supplemental clips may come with either kind of training clips."""
        labelled, secret = "section_00_source_{}_normal_0000_<attributes>.wav", "section_00_0000.wav"
        if self.domain_known:
            tests = {f"{domain}_test": _labelled("test", domain) for domain in DOMAINS}
            secrets = {f"{domain}_test": _secret(domain) for domain in DOMAINS}
            secret = "section_03_source_test_0000.wav"
        else:
            tests, secrets = {"test": _labelled("test")}, {"test": _secret()}
        dev, evaluation, train = "dev_data", "eval_data", {"train": _labelled("train")}
        extra, extra_name = {"supplemental": _SUPPLEMENT}, "section_00_machine_0000.wav"
        train_name, test_name = labelled.format("train"), labelled.format("test")
        return (
            Part(name="train", folder=dev, archives="dev", patterns=train, example=train_name),
            Part(
                name="additional",
                folder=evaluation,
                archives="additional",
                patterns=train,
                example=train_name,
            ),
            Part(name="supplemental", folder=dev, archives="dev", patterns=extra, example=extra_name),
            Part(
                name="supplemental",
                folder=evaluation,
                archives="additional",
                patterns=extra,
                example=extra_name,
            ),
            Part(name="test", folder=dev, archives="dev", patterns=tests, example=test_name),
            Part(
                name="evaluation", folder=evaluation, archives="evaluation", patterns=secrets, example=secret
            ),
        )

    def part(self, name: str) -> Part:
        """Return the first part of this name."""
        return next(part for part in self.parts if part.name == name)


# Not source or target: a clip of a known domain is no supplement, it lies in the wrong folder.
_SUPPLEMENT = re.compile(
    r"section_(?P<section>\d{2})_(?P<attributes>(?!source_|target_)[a-z]+_\d{4}[^/]*)\.wav", re.ASCII
)


def _labelled(split: str, domain: str = "source|target") -> re.Pattern[str]:
    return re.compile(
        rf"section_(?P<section>\d{{2}})_(?P<domain>{domain})_{split}_(?P<label>normal|anomaly)_(?P<number>\d{{4}})"
        r"(?:_(?P<attributes>[^/]*))?\.wav",
        re.ASCII,
    )


def _secret(domain: str = "") -> re.Pattern[str]:
    # From 2022 on, ground truth and manuals spell the names differently: see `clip_key`.
    named = rf"(?P<domain>{domain})_test_" if domain else "(?:test_)?"
    return re.compile(rf"section_(?P<section>\d{{2}})_{named}\d{{4}}\.wav", re.ASCII)
