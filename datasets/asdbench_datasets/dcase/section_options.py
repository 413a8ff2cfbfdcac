"""Options of the DCASE Task 2 releases from 2021 on, and the parts, domains and machine types that they select."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal

from msgspec import Meta
from msgspec.structs import force_setattr

from asdbench import ANOMALY, NORMAL, Config, ConfigError, Count
from asdbench_datasets.dcase.parts import DOMAINS, Part, Release
from asdbench_datasets.dcase.spellings import Place
from asdbench_datasets.dcase.truth import Form
from asdbench_datasets.machine_recordings import (
    NO_VALIDATION,
    Channel,
    Machines,
    SampleRate,
    item_shape,
    ordered_machines,
)

_TRAINING = {"dev": "train", "additional": "additional"}
_TESTED = {"dev": "test", "eval": "evaluation"}
_NEEDED = {"dev": "dev", "eval": "additional"}
"""Training clips of the sections that are tested."""


class SectionOptions(Config, frozen=True, kw_only=True):
    """What a user can select in a release of sections and domains; a subclass for each year sets ``release``.

    Raises:
        ConfigError: A machine type is unknown, or test clips are selected without the training clips of their
            sections.
    """

    release: ClassVar[Release]

    train: Annotated[
        Literal["dev", "dev+additional", "additional"] | None,
        Meta(
            description="training clips of the development sections, of the evaluation sections, or of both; "
            "none: those of the sections under test"
        ),
    ] = None
    test: Annotated[
        Literal["dev", "eval"],
        Meta(
            description="test clips of the development part, or of the evaluation part, whose labels are in "
            "the ground truth of the official evaluator"
        ),
    ] = "dev"
    machines: Machines = ()
    sample_rate: SampleRate = 16000
    channel: Channel = 0

    def __post_init__(self) -> None:
        needed = _NEEDED[self.test]
        force_setattr(self, "machines", ordered_machines(self.machines, self.release.machines))
        # The default is written out, so that equal selections are equal configurations.
        force_setattr(self, "train", self.train or needed)
        if needed not in self.trained:
            raise ConfigError(
                f"test={self.test} needs train={needed} or train=dev+additional, which have its sections"
            )
        if not self.selected(self.tested):
            raise ConfigError(
                f"{self.release.name} has no test={self.test} clips of {'+'.join(self.machines)}; it has clips of "
                f"{', '.join(self.release.machines_of(self.tested))}"
            )

    @property
    def trained(self) -> tuple[str, ...]:
        """The selected kinds of training clips: ``dev``, ``additional`` or both."""
        return tuple(str(self.train).split("+"))

    @property
    def parts(self) -> tuple[Part, ...]:
        """The selected parts."""
        wanted = {*(_TRAINING[name] for name in self.trained), _TESTED[self.test]}
        return tuple(part for part in self.release.parts if part.name in wanted)

    @property
    def tested(self) -> Part:
        """The part that is tested."""
        return self.release.part(_TESTED[self.test])

    @property
    def domains(self) -> tuple[str, ...]:
        """The selected domains."""
        return DOMAINS

    @property
    def truth_form(self) -> Form:
        """The form of the ground truth to read."""
        return "domains" if self.release.domain_known else self.release.truth_form

    @property
    def published_as(self) -> str:
        """Name of these training and test clips in tables of published results, if read as recorded.

        Published methods trained on the sections on which they were tested, and on nothing else.
        """
        return f"{self.release.name}/{self.test}" if self.train == _NEEDED[self.test] else ""

    @property
    def item_shape(self) -> tuple[int, ...]:
        """Shape of one official item."""
        release = self.release
        return item_shape(release.clip_s * self.sample_rate, channel=self.channel, channels=release.channels)

    @property
    def metrics(self) -> str:
        """Name of the metric set."""
        return self.release.metrics

    @property
    def known_leaks(self) -> tuple[str, ...]:
        """What the protocol leaks."""
        return (NO_VALIDATION,)

    @property
    def notes(self) -> tuple[str, ...]:
        """What readers of results must know."""
        return ()

    def selected(self, part: Part) -> tuple[str, ...]:
        """Return the selected machine types in a part."""
        there = self.release.machines_of(part)
        return tuple(name for name in there if not self.machines or name in self.machines)

    def test_counts(self) -> Mapping[Place, int]:
        """Return the official numbers of development test clips by machine type, section, domain and label."""
        part = self.release.part("test")
        return {
            (machine, section, count.columns["domain"], str(count.label)): count.items
            for machine in self.selected(part)
            for section in self.release.sections_of(part)
            for count in self.counts(part, {"machine": machine, "section": section, "part": part.name})
        }

    def counts(self, part: Part, columns: dict[str, str]) -> Iterator[Count]:
        """Yield the official counts of a section, which the columns machine, section and part name."""
        release = self.release
        if part.name in release.counted:
            for domain in self.domains:
                yield Count(columns={**columns, "domain": domain}, items=release.train_items[domain])
        if part.name == "test" and release.test_items:
            for domain in self.domains:
                for label in (NORMAL, ANOMALY):
                    yield Count(columns={**columns, "domain": domain}, label=label, items=release.test_items)
        if part.name == "evaluation" and release.evaluation_items:
            yield Count(columns=columns, items=release.evaluation_items)
