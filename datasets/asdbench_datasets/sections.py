"""What the DCASE Task 2 releases from 2021 on share: machine types with sections, a source and a target domain.

Below ``<root>/<release>`` the clips lie as the archives unpack (the layout of the official baselines' manuals):

    dev_data/<machine>/train/section_00_source_train_normal_0000_<attributes>.wav           part train
    dev_data/<machine>/test/section_00_target_test_anomaly_0000_<attributes>.wav            part test
    eval_data/<machine>/train/section_03_target_train_normal_0000_<attributes>.wav          part additional
    eval_data/<machine>/test/section_03_0000.wav, or section_03_test_0000.wav               part evaluation
    eval_data/<machine>/supplemental/section_00_machine_0001_<attributes>.wav               part supplemental

In 2021 the folders of test clips are ``source_test`` and ``target_test``, so that the domain of every clip is told.
A module for each release says what is its own: machine types, sections, archives, counts, where its labels are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta
from numpy.typing import NDArray

from asdbench.data.audio import read_wave
from asdbench.data.folds import by_part
from asdbench.errors import ConfigError, DataError
from asdbench.values import ANOMALY, NORMAL, Card, Config, Count, Fold, Remote, Row
from asdbench_datasets.clips import Clips
from asdbench_datasets.leaks import NO_VALIDATION
from asdbench_datasets.options import Channel, Machines, SampleRate, chosen_machines
from asdbench_datasets.parts import DOMAINS, TRAINING, Part, Release
from asdbench_datasets.tables import table, zenodo
from asdbench_datasets.truth import Form

GROUND_TRUTH = "ground_truth"
_TRAINING = {"dev": "train", "additional": "additional"}
_TESTED = {"dev": "test", "eval": "evaluation"}
_NEEDED = {"dev": "dev", "eval": "additional"}
"""Training clips of the sections that are tested."""


class SectionRelease(Config, frozen=True, kw_only=True):
    """A release of sections and domains; each year is a subclass that says its ``release``.

    Raises:
        ConfigError: A machine type is unknown, or clips are to be tested without the training clips of their
            sections.
    """

    release: ClassVar[Release]

    train: Annotated[
        Literal["dev", "dev+additional", "additional"] | None,
        Meta(
            description="training clips of the development sections, of the evaluation sections, or of both; "
            "none: those of the sections that are tested"
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
        # In one order and form, so that equal selections are equal configurations.
        msgspec.structs.force_setattr(self, "machines", chosen_machines(self.machines, self.release.machines))
        msgspec.structs.force_setattr(self, "train", self.train or needed)
        if needed not in self._trained():
            raise ConfigError(
                f"test={self.test} needs train={needed} or train=dev+additional: only these hold its sections"
            )
        if not self.selected(self.tested):
            raise ConfigError(
                f"{self.release.name} has no test={self.test} clips of {'+'.join(self.machines)}, but of "
                f"{', '.join(self.release.machines_of(self.tested))}"
            )

    @property
    def card(self) -> Card:
        """What the release says of itself under the current options."""
        release = self.release
        return Card(
            name=release.name,
            title=release.title,
            task="detection",
            modality="audio",
            licence=release.licence,
            citation=release.citation,
            homepage=release.homepage,
            remotes=self._remotes(),
            expected=self._expected(),
            columns={
                "machine": "machine type",
                "section": "section, the official name of a machine ID",
                "domain": "source or target; unknown: nothing tells it",
                "part": ", ".join(dict.fromkeys(part.name for part in self.parts)),
                "attributes": "operating conditions as file names say them; of training clips alone",
            },
            claims=("machine", "section"),
            known=("domain",) if release.tells_domain else (),
            scopes={"all": (), "machine": ("machine",), "section": ("machine", "section")},
            groups=("machine", "section", "domain"),
            metrics=release.metrics,
            published_as=self.published_as if (self.sample_rate, self.channel) == (16000, 0) else "",
            item_shape=(release.clip_s * self.sample_rate,),
            sample_rate=self.sample_rate,
            known_leaks=self.known_leaks,
            notes=self.notes,
        )

    def index(self, root: Path) -> Iterator[Row]:
        """List the clips of the selected parts, machine types and domains.

        Raises:
            DataError: Nothing is there, a name or section is not of the release, a training clip is anomalous,
                or the ground truth is damaged or does not list an evaluation clip.
        """
        clips = self._clips(root)
        rows = [
            row for part in self.parts for machine in self.selected(part) for row in clips.rows(part, machine)
        ]
        if not rows:
            machines = dict.fromkeys(name for part in self.parts for name in self.selected(part))
            raise DataError(
                f"no clips of {', '.join(machines)} under {root / self.release.name}; "
                f"`asdbench datasets fetch {self.release.name}` gets them"
            )
        yield from rows

    def read(self, root: Path, source: PurePosixPath) -> NDArray[Any]:
        """Decode one clip, ``[samples]``: int16 as stored at its own rate, float32 when resampled.

        Raises:
            DataError: The file is damaged; the message names it.
        """
        return read_wave(root / source, sample_rate=self.sample_rate, channel=self.channel)

    def folds(self, rows: Sequence[Row]) -> Sequence[Fold]:
        """Return the one official division: the chosen training clips and the test clips."""
        return by_part(rows, name=self.test, train=TRAINING, test={self.tested.name})

    def graded(self, root: Path, names: Sequence[tuple[str, str]]) -> Sequence[Row]:
        """Return a row for every (machine type, file name) of a test clip, from names and ground truth alone.

        Raises:
            DataError: A name is not of the test clips that the options select, or not in the ground truth.
        """
        clips, machines = self._clips(root), self.selected(self.tested)
        for machine, name in names:
            if machine not in machines:
                raise DataError(
                    f"{machine}/{name}: test={self.test} of {self.release.name} is of {', '.join(machines)}, "
                    f"not of {machine!r}"
                )
        return [clips.graded(self.tested, machine, name) for machine, name in names]

    def listed(self, root: Path) -> Sequence[Row]:
        """Return the test clips that the ground truth under ``root`` lists; none of the development part."""
        return (
            self._clips(root).listed(self.tested, self.selected(self.tested)) if self.test == "eval" else []
        )

    def archive_target(self, remote: Remote) -> PurePosixPath:
        """Return the folder under the data root that an archive unpacks to, or that a file goes to."""
        folder = PurePosixPath(self.release.name)
        if remote.part == GROUND_TRUTH:
            files = {_truth_url(self.release, line): line["folder"] for line in self._truth_files()}
            return folder / files[remote.url]
        return folder / next(part.folder for part in self.release.parts if part.archives == remote.part)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts that the options select."""
        wanted = {*(_TRAINING[name] for name in self._trained()), _TESTED[self.test]}
        return tuple(part for part in self.release.parts if part.name in wanted)

    @property
    def tested(self) -> Part:
        """The part that is tested."""
        return self.release.part(_TESTED[self.test])

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains that the options select."""
        return DOMAINS

    @property
    def truth_form(self) -> Form:
        """The form of the ground truth that is wanted."""
        return "domains" if self.release.tells_domain else "pair"

    @property
    def published_as(self) -> str:
        """Name of these training and test clips in tables of printed results, were they taken as recorded.

        Results are printed of methods that trained on the sections that they were tested on, and on nothing else.
        """
        return f"{self.release.name}/{self.test}" if self.train == _NEEDED[self.test] else ""

    @property
    def known_leaks(self) -> tuple[str, ...]:
        """What the protocol leaks."""
        return (NO_VALIDATION,)

    @property
    def notes(self) -> tuple[str, ...]:
        """What every reader of results must be told."""
        return ()

    def selected(self, part: Part) -> tuple[str, ...]:
        """Return the wanted machine types that a part holds."""
        there = self.release.machines_of(part)
        return tuple(name for name in there if not self.machines or name in self.machines)

    def counts(self, part: Part, columns: dict[str, str]) -> Iterator[Count]:
        """Give the official counts of a section; its columns are machine, section and part."""
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

    def _trained(self) -> list[str]:
        return str(self.train).split("+")

    def _clips(self, root: Path) -> Clips:
        return Clips(self.release, root, domains=self.domains, form=self.truth_form)

    def _expected(self) -> tuple[Count, ...]:
        return tuple(
            count
            for part in self.parts
            for machine in self.selected(part)
            for section in self.release.sections_of(part)
            for count in self.counts(part, {"machine": machine, "section": section, "part": part.name})
        )

    def _remotes(self) -> tuple[Remote, ...]:
        wanted = {(part.archives, machine) for part in self.parts for machine in self.selected(part)}
        archives = table(f"{self.release.name}_remotes.csv")
        # A file of ground truth of no machine type is of all of them.
        of_machines = {"", *self.selected(self.release.part("evaluation"))}
        files = self._truth_files() if self.release.part("evaluation") in self.parts else ()
        return (
            *(zenodo(line) for line in archives if (line["part"], line["machine"]) in wanted),
            *(
                Remote(url=_truth_url(self.release, line), md5=line["md5"], part=GROUND_TRUTH)
                for line in files
                if line["machine"] in of_machines
            ),
        )

    def _truth_files(self) -> tuple[dict[str, str], ...]:
        return table(f"{self.release.name}_truth.csv") if self.release.evaluator else ()


def _truth_url(release: Release, line: dict[str, str]) -> str:
    owner, name, *folders = release.evaluator.split("/")
    path = "/".join(word for word in (*folders, line["folder"], line["file"]) if word)
    return f"https://raw.githubusercontent.com/{owner}/{name}/{line['commit']}/{path}"
