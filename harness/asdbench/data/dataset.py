"""The contract of datasets: rows, folds, the card, and the protocols that a dataset satisfies. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import msgspec

if TYPE_CHECKING:  # a card alone needs no numpy
    from numpy.typing import NDArray

Task = Literal["detection", "classification"]
GROUND_TRUTH = "ground_truth"
"""``Remote.part`` of files with the labels of test items."""


# Rows hold no cycles. Untracked by the garbage collector, a release of 47,151 clips is indexed and sorted in half the time.
class Row(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One item, as its release describes it; holds no samples."""

    source: PurePosixPath
    """Relative to the data root; never leaves the parent process."""
    columns: Mapping[str, str]
    """Public, for example machine, section, domain and part."""
    label: str | None
    """Only the vault keeps it; None: the release keeps it secret."""
    start: int = 0
    """First position of the item along the first axis of its source, for windows of one long recording."""
    length: int | None = None
    """Length along that axis; None: to the end."""
    sha256: str = ""
    """Hash of the source's content; the harness fills it in, datasets leave it empty."""


class Fold(msgspec.Struct, frozen=True, kw_only=True):
    """One division into training, validation and test rows, by their positions in the rows given to ``folds``."""

    name: str
    train: Sequence[int]
    validation: Sequence[int] = ()
    test: Sequence[int]


class Remote(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a release offers for download."""

    url: str
    md5: str
    """Hex digits; empty: the checksum is not known, and the user must agree to trust the file."""
    part: str
    """Part of the release that it belongs to, for example ``dev`` or ``additional``."""

    @property
    def file(self) -> str:
        """Name of the file, the last part of its address."""
        # Some addresses end in a query, for example "?download=1".
        return PurePosixPath(self.url.split("?")[0]).name


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """Official number of items in one group of a release."""

    columns: Mapping[str, str]
    items: int
    label: str | None = None
    """Counts only items with this label; None: all items of the group."""


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset's description of itself under its current options."""

    name: str
    title: str
    task: Task
    modality: str
    licence: str
    citation: str
    homepage: str = ""
    remotes: tuple[Remote, ...] = ()
    expected: tuple[Count, ...] = ()
    """Official counts under the current options; empty: any number of items is complete."""
    contents: Mapping[str, str] = {}
    """Official SHA-256 by source, for example of ``sheet.xlsx``; the content of other sources is not checked."""
    columns: Mapping[str, str]
    """Public columns and their meaning."""
    claims: tuple[str, ...]
    """Columns known of a test item at run time that name its class, joined by ``/``."""
    runtime_columns: tuple[str, ...] = ()
    """Further columns known of a test item at run time that are not part of its class, for example domain (2021)."""
    scopes: Mapping[str, tuple[str, ...]]
    """What may be trained together: scope name -> columns that must agree within a unit; ``all`` -> ()."""
    groups: tuple[str, ...]
    """Columns of the results, outermost first, for example machine, section, domain."""
    metrics: str
    """Name of the metric set of the results."""
    targets: tuple[str, ...] = ()
    """Classes of a classification task; a row's label is one of them."""
    published_as: str = ""
    """Name under which papers print results on exactly these training and test items, for example
    ``dcase2020/dev``; empty: none do."""
    item_shape: tuple[int, ...]
    """Shape of one official item."""
    sample_rate: int | None = None
    resample_by: str = ""
    """Column whose items are resampled together for intervals, for example subject, or block where windows overlap;
    ``source`` for the items of one file; empty: each item separately."""
    held_by: str = ""
    """Column, or ``source``, whose items are held out of training together; empty: each item separately."""
    known_leaks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What a reader of results on this data must know; every run warns of it and its record repeats it."""
    scaled: bool = False
    """True: the dataset itself scales items to about 0..1, so a featurizer must not scale them again."""
    generated: bool = False
    """True: generated on this machine from a seed, without a download or a data root."""

    def claim_of(self, columns: Mapping[str, str]) -> str:
        """Return the class that an item with these columns claims to belong to."""
        return "/".join(columns[name] for name in self.claims)


# A protocol, so that a plugin's frozen Config can be a dataset without inheriting from anything else.
@runtime_checkable
class Dataset(Protocol):
    """A release of data. Trusted code, runs only in the parent process. Its frozen ``Config`` is the protocol."""

    @property
    def card(self) -> Card:
        """Description of the release under the current options."""

    def index(self, root: Path) -> Iterable[Row]:
        """List the items under the data root ``root`` that the current options select, in any order.

        Raises:
            DataError: There are no items, or a name does not match the release's pattern.
        """

    def read(self, root: Path, source: PurePosixPath) -> NDArray[Any]:
        """Decode one source: int16 as stored where that is exact, else float32.

        Raises:
            DataError: The file is damaged; the message names it.
        """

    def folds(self, rows: Sequence[Row]) -> Sequence[Fold]:
        """Divide the rows into training, validation and test rows."""


@runtime_checkable
class GeneratedDataset(Dataset, Protocol):
    """A dataset that is generated on this machine from a seed (``card.generated``)."""

    def generate(self, root: Path, progress: Callable[[int, int], None]) -> None:
        """Generate all sources under ``root``, calling ``progress(done, total)`` after each."""


@runtime_checkable
class LocatedDataset(Dataset, Protocol):
    """A dataset in a folder given by its options, whose card depends on the files there."""

    def located(self, root: Path) -> tuple[Dataset, Path]:
        """Return the dataset with its folder filled in, and the root that its sources are relative to."""


@runtime_checkable
class ExaminedDataset(Protocol):
    """A dataset that examines its samples while they are decoded."""

    def examined(self, root: Path, source: PurePosixPath) -> tuple[NDArray[Any], Sequence[str]]:
        """Decode one source as ``read`` does, and return what is wrong with its samples with it.

        Equal faults have equal words, for example ``silent in channel 0``: every run reports each of them once, with the
        number of files that have it and the first of them.
        """


class Recordings(msgspec.Struct, frozen=True, kw_only=True):
    """What the headers of recordings give."""

    sample_rates: Mapping[str, int]
    """Sample rate in Hz -> number of recordings."""
    channels: Mapping[str, int]
    """Number of channels -> number of recordings."""
    shortest_s: float
    longest_s: float
    total_s: float


@runtime_checkable
class SurveyedDataset(Protocol):
    """A dataset of recordings that no release describes, which reads their headers."""

    def surveyed(self, root: Path) -> Recordings:
        """Return what the recordings under ``root`` are like, before anything is resampled, cut or left out."""


@runtime_checkable
class GradedDataset(Dataset, Protocol):
    """A dataset whose official file names identify the test items, so that anyone's scores can be graded."""

    def graded(self, root: Path, names: Sequence[tuple[str, str]]) -> Sequence[Row]:
        """Return a row for every (machine type, file name), from the names and the ground truth under ``root``.

        The label is None where it is secret and there is no ground truth.

        Raises:
            DataError: A name is not in the release, or not in its ground truth.
        """

    def listed(self, root: Path) -> Sequence[Row]:
        """Return the test items listed in the ground truth under ``root``; none if there is no list."""

    def test_groups(self) -> Sequence[Mapping[str, str]]:
        """Return the columns of every group of test items that the release has, whatever machines are selected."""


@runtime_checkable
class RemoteDataset(Protocol):
    """A dataset whose archives can be downloaded."""

    def archive_target(self, remote: Remote) -> PurePosixPath:
        """Return the folder under the data root into which an archive is unpacked."""


@runtime_checkable
class TruthDataset(RemoteDataset, Protocol):
    """A dataset whose test labels are in files of their own, which can be downloaded alone."""

    @property
    def truth_remotes(self) -> tuple[Remote, ...]:
        """The files with the labels of the secret test items, whether or not these are selected."""
