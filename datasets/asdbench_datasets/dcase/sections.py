"""DCASE Task 2 releases from 2021 on: machine types with sections, each with a source and a target domain.

Below ``<root>/<release>`` the clips are where the archives unpack them (the layout of the official baselines' manuals):

    dev_data/<machine>/train/section_00_source_train_normal_0000_<attributes>.wav           part train
    dev_data/<machine>/test/section_00_target_test_anomaly_0000_<attributes>.wav            part test
    eval_data/<machine>/train/section_03_target_train_normal_0000_<attributes>.wav          part additional
    eval_data/<machine>/test/section_03_0000.wav, or section_03_test_0000.wav               part evaluation
    eval_data/<machine>/supplemental/section_00_machine_0001_<attributes>.wav               part supplemental

In 2021 the folders of test clips are ``source_test`` and ``target_test``, so the domain of every clip is known.
The module of each release has its machine types, sections, archives and counts, and the source of its labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from asdbench import GROUND_TRUTH, Card, Count, DataError, Fold, Remote, Row, by_part, fetch_command
from asdbench_datasets.dcase.clips import Clips
from asdbench_datasets.dcase.parts import TRAINING
from asdbench_datasets.dcase.section_options import SectionOptions
from asdbench_datasets.dcase.spellings import refuse_invented
from asdbench_datasets.machine_recordings import CLAIMS, GROUPS, SCOPES, read_item
from asdbench_datasets.official_tables import github, table, zenodo

if TYPE_CHECKING:
    from numpy.typing import NDArray


class SectionRelease(SectionOptions, frozen=True, kw_only=True):
    """A release of sections and domains; a subclass for each year sets ``release``.

    Raises:
        ConfigError: See ``SectionOptions``.
    """

    @property
    def card(self) -> Card:
        """Describe the release under the current options."""
        release = self.release
        return Card(
            name=release.name,
            title=release.title,
            task="detection",
            modality="audio",
            licence=release.licence,
            citation=release.citation,
            homepage=release.homepage,
            remotes=tuple(self._remotes()),
            expected=tuple(self._expected()),
            columns={
                "machine": "machine type",
                "section": "section, the official name of a machine ID",
                "domain": "source or target; unknown: given neither by name nor by ground truth",
                "part": ", ".join(dict.fromkeys(part.name for part in self.parts)),
                "attributes": "operating conditions from the file names; training clips only",
            },
            claims=CLAIMS,
            runtime_columns=("domain",) if release.domain_known else (),
            scopes=SCOPES,
            groups=GROUPS,
            metrics=self.metrics,
            # Published results are of clips as recorded, at 16 kHz; of several channels the first, or all.
            published_as=self.published_as
            if self.sample_rate == 16000 and self.channel in {0, "all"}
            else "",
            item_shape=self.item_shape,
            sample_rate=self.sample_rate,
            known_leaks=self.known_leaks,
            notes=self.notes,
        )

    def index(self, root: Path) -> Iterator[Row]:
        """List the clips of the selected parts, machine types and domains.

        Raises:
            DataError: There are no clips, a name or section is not of the release, a training clip is anomalous, or
                the ground truth is damaged or does not list an evaluation clip.
        """
        clips = self._clips(root)
        rows = [
            row for part in self.parts for machine in self.selected(part) for row in clips.rows(part, machine)
        ]
        if not rows:
            places = [(part, name) for part in self.parts for name in self.selected(part)]
            machines = dict.fromkeys(name for _, name in places)
            own = "".join(
                f"; a copy of yours belongs there as {part.place_of(name)}" for part, name in places[:1]
            )
            raise DataError(
                f"no clips of {', '.join(machines)} under {root / self.release.name}; "
                f"`{fetch_command(self, root)}` downloads them{own}"
            )
        yield from rows

    def read(self, root: Path, source: PurePosixPath) -> NDArray[Any]:
        """Decode one clip, ``[samples]`` or ``[samples, channels]``: int16 as stored at its own rate, float32 if resampled.

        Raises:
            DataError: The file is damaged, or has not the channels of the release; the message names it.
        """
        channels = self.release.channels
        return read_item(root / source, sample_rate=self.sample_rate, channel=self.channel, channels=channels)

    def folds(self, rows: Sequence[Row]) -> Sequence[Fold]:
        """Return the one official fold: the selected training clips and the test clips."""
        return by_part(rows, name=self.test, train=TRAINING, test={self.tested.name})

    def graded(self, root: Path, names: Sequence[tuple[str, str]]) -> Sequence[Row]:
        """Return a row for every (machine type, file name) of a test clip, from names and ground truth alone.

        Raises:
            DataError: A name is not among the selected test clips, or not in the ground truth.
        """
        clips, machines = self._clips(root), self.selected(self.tested)
        for machine, name in names:
            if machine not in machines:
                raise DataError(
                    f"{machine}/{name}: test={self.test} of {self.release.name} has clips of {', '.join(machines)}, "
                    f"not of {machine!r}"
                )
        rows = [clips.graded(self.tested, machine=machine, name=name) for machine, name in names]
        refuse_invented(rows, names=names, part=self.tested, counts=self.test_counts())
        return rows

    def listed(self, root: Path) -> Sequence[Row]:
        """Return the test clips that the ground truth under ``root`` lists; none for the development part."""
        return (
            self._clips(root).listed(self.tested, self.selected(self.tested)) if self.test == "eval" else []
        )

    def test_groups(self) -> Sequence[Mapping[str, str]]:
        """Return machine type and section of all test clips of the release, and their domain where it is known."""
        part = self.tested
        places = [
            {"machine": machine, "section": section}
            for machine in self.release.machines_of(part)
            for section in self.release.sections_of(part)
        ]
        if not self.release.domain_known:
            return places
        return [place | {"domain": domain} for place in places for domain in self.domains]

    @property
    def truth_remotes(self) -> tuple[Remote, ...]:
        """The files of ground truth of the evaluation part, whether or not it is selected."""
        # A file of ground truth without a machine type covers all of them.
        machines = {"", *self.selected(self.release.part("evaluation"))}
        return tuple(self._truth(line) for line in self._truth_files() if line["machine"] in machines)

    def archive_target(self, remote: Remote) -> PurePosixPath:
        """Return the folder under the data root that an archive unpacks to, or that a file is saved in."""
        folder = PurePosixPath(self.release.name)
        if remote.part == GROUND_TRUTH:
            folders = {self._truth(line).url: line["folder"] for line in self._truth_files()}
            return folder / folders[remote.url]
        return folder / next(part.folder for part in self.release.parts if part.archives == remote.part)

    def _clips(self, root: Path) -> Clips:
        return Clips(self.release, root, domains=self.domains, form=self.truth_form)

    def _expected(self) -> Iterator[Count]:
        for part in self.parts:
            for machine in self.selected(part):
                for section in self.release.sections_of(part):
                    yield from self.counts(part, {"machine": machine, "section": section, "part": part.name})

    def _remotes(self) -> Iterator[Remote]:
        release = self.release
        wanted = {(part.archives, machine) for part in self.parts for machine in self.selected(part)}
        for line in table(release.family, f"{release.name}_remotes.csv"):
            if (line["part"], line["machine"]) in wanted:
                yield zenodo(line)
        if release.part("evaluation") in self.parts:
            yield from self.truth_remotes

    def _truth_files(self) -> tuple[dict[str, str], ...]:
        release = self.release
        return table(release.family, f"{release.name}_truth.csv") if release.evaluator else ()

    def _truth(self, line: Mapping[str, str]) -> Remote:
        return github(line, repository=self.release.evaluator)
