"""A dataset's card as shown by ``asdbench datasets info``."""

from __future__ import annotations

import msgspec

from asdbench.core.config import Config, config_of
from asdbench.core.options import OptionDescription, options_of
from asdbench.data.dataset import Dataset, Task


class Archive(Config, frozen=True, kw_only=True):
    """A file that ``asdbench datasets fetch`` downloads."""

    file: str
    part: str
    url: str
    md5: str | None
    """None: the checksum is not known."""


class CardDocument(Config, frozen=True, kw_only=True):
    """The output of ``asdbench datasets info --json``."""

    name: str
    title: str
    task: Task
    modality: str
    licence: str
    citation: str
    homepage: str
    items: int | None
    """Official number of items; None: the release states none."""
    classes: int | None
    targets: list[str]
    item_shape: list[int]
    sample_rate: int | None
    columns: dict[str, str]
    claims: list[str]
    runtime_columns: list[str]
    scopes: dict[str, list[str]]
    metrics: str
    known_leaks: list[str]
    notes: list[str]
    contents: dict[str, str]
    archives: list[Archive]
    generated: bool
    options: list[OptionDescription] = []
    """Every option of the dataset with its value."""


def card_document(dataset: Dataset) -> CardDocument:
    """Return what a dataset's card states and its options, ready to show or to encode."""
    card = dataset.card
    return CardDocument(
        name=card.name,
        title=card.title,
        task=card.task,
        modality=card.modality,
        licence=card.licence,
        citation=card.citation,
        homepage=card.homepage,
        # A release without official counts has a sum of 0, which is not a number of items.
        items=sum(count.items for count in card.expected) or None,
        classes=len({card.claim_of(count.columns) for count in card.expected}) or None,
        targets=list(card.targets),
        item_shape=list(card.item_shape),
        sample_rate=card.sample_rate,
        columns=dict(card.columns),
        claims=list(card.claims),
        runtime_columns=list(card.runtime_columns),
        scopes={name: list(columns) for name, columns in card.scopes.items()},
        metrics=card.metrics,
        known_leaks=list(card.known_leaks),
        notes=list(card.notes),
        contents=dict(card.contents),
        archives=[
            Archive(file=remote.file, part=remote.part, url=remote.url, md5=remote.md5 or None)
            for remote in card.remotes
        ],
        generated=card.generated,
        options=options_of("dataset", config_of(type(dataset)), values=msgspec.to_builtins(dataset)),
    )
