"""Values that describe a release of sections: what is its own, where its parts lie, how their clips are named."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

UNKNOWN = "unknown"
"""Domain of a clip of which neither its name nor any ground truth tells it."""
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
    """Folder of clips below the machine type -> how they are named there."""
    example: str

    @property
    def trains(self) -> bool:
        """Whether its clips are for training."""
        return self.name in TRAINING


@dataclass(frozen=True, kw_only=True)
class Release:
    """What is a release's own."""

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
    tells_domain: bool = False
    """Whether a test clip says its domain at run time; then source and target have folders of their own."""
    evaluator: str = ""
    """Where its ground truth is fetched from: GitHub owner, repository and folder in it; empty: nowhere."""
    truth_listing: str = ""
    """A file of ground truth of all machine types; see ``Truth.listing``."""
    clip_s: int = 10
    train_items: Mapping[str, int] = field(default_factory=dict)
    """Official number of training clips of every section, by domain."""
    counted: tuple[str, ...] = ()
    """Training parts of which ``train_items`` is certain."""
    test_items: int = 0
    """Official number of development test clips of every section, domain and label; 0: not certain."""
    evaluation_items: int = 0
    """Official number of evaluation clips of every section; 0: not certain."""

    @property
    def machines(self) -> tuple[str, ...]:
        """All machine types."""
        return tuple(dict.fromkeys((*self.dev_machines, *self.eval_machines)))

    def machines_of(self, part: Part) -> tuple[str, ...]:
        """Return the machine types that a part holds."""
        return self.dev_machines if part.folder == "dev_data" else self.eval_machines

    def sections_of(self, part: Part) -> tuple[str, ...]:
        """Return the sections that a part holds."""
        return self.dev_sections if part.folder == "dev_data" else self.eval_sections

    @functools.cached_property
    def parts(self) -> tuple[Part, ...]:
        """All parts, training parts first; supplemental clips may lie beside either kind of training clips."""
        told, secret = "section_00_source_{}_normal_0000_<attributes>.wav", "section_00_0000.wav"
        if self.tells_domain:
            tests = {f"{domain}_test": _labelled("test", domain) for domain in DOMAINS}
            secrets = {f"{domain}_test": _secret(domain) for domain in DOMAINS}
            secret = "section_03_source_test_0000.wav"
        else:
            tests, secrets = {"test": _labelled("test")}, {"test": _secret()}
        trains, supplements = {"train": _labelled("train")}, {"supplemental": _SUPPLEMENT}
        extra, dev, evaluation = "section_00_machine_0000.wav", "dev_data", "eval_data"
        return (
            _part("train", dev, "dev", trains, told.format("train")),
            _part("additional", evaluation, "additional", trains, told.format("train")),
            _part("supplemental", dev, "dev", supplements, extra),
            _part("supplemental", evaluation, "additional", supplements, extra),
            _part("test", dev, "dev", tests, told.format("test")),
            _part("evaluation", evaluation, "evaluation", secrets, secret),
        )

    def part(self, name: str) -> Part:
        """Return the first part of this name."""
        return next(part for part in self.parts if part.name == name)


_SUPPLEMENT = re.compile(
    r"section_(?P<section>\d{2})_(?P<attributes>(?!source_|target_)[a-z]+_\d{4}[^/]*)\.wav"
)


def _labelled(split: str, domain: str = "source|target") -> re.Pattern[str]:
    return re.compile(
        rf"section_(?P<section>\d{{2}})_(?P<domain>{domain})_{split}_(?P<label>normal|anomaly)_\d{{4}}"
        r"(?:_(?P<attributes>[^/]*))?\.wav"
    )


def _secret(domain: str = "") -> re.Pattern[str]:
    told = rf"(?P<domain>{domain})_test_" if domain else "(?:test_)?"
    return re.compile(rf"section_(?P<section>\d{{2}})_{told}\d{{4}}\.wav")


def _part(
    name: str,
    folder: str,
    archives: str,
    patterns: Mapping[str, re.Pattern[str]],
    example: str,
) -> Part:
    return Part(name=name, folder=folder, archives=archives, patterns=patterns, example=example)
