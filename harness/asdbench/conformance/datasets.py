"""Checks of a dataset by its card; they need no data."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from asdbench.conformance.findings import Checklist, Unmet
from asdbench.conformance.options import options_are_described
from asdbench.conformance.tasks import DatasetTask
from asdbench.core.config import config_of, configure
from asdbench.data.dataset import Card, Dataset
from asdbench.data.declared import check_card
from asdbench.data.vault import reserved
from asdbench.errors import AsdbenchError, unknown
from asdbench.plugin.entries import Lazy


def check_dataset(task: DatasetTask, checks: Checklist) -> None:
    """Run all checks of a dataset."""
    built = Lazy(task.path).load()
    checks.run("options", lambda: options_are_described({"dataset": config_of(built)}))
    kept: list[Any] = []

    def fits() -> str:
        kept.append(configure(config_of(built), task.options, of=task.path))
        return keeps_the_protocol(kept[0])

    checks.run("fits", fits)
    for name, check in OF_CARDS.items():
        checks.run(name, functools.partial(_of_card, check, kept=kept), needs=("fits",))
    checks.run("metrics", lambda: metric_set_exists(kept[0].card, task.metrics), needs=("fits",))


def _of_card(check: Callable[[Card], str], *, kept: list[Any]) -> str:
    return check(kept[0].card)


def keeps_the_protocol(dataset: Any) -> str:
    """Check that it has what a dataset has."""
    if not isinstance(dataset, Dataset):
        raise Unmet(
            f"{type(dataset).__name__} is no dataset",
            mend="define card, index, read and folds",
        )
    return f"{dataset.card.name}: {dataset.card.title}"


def names_licence_and_source(card: Card) -> str:
    """Check that users of the results can cite the data."""
    for field in ("title", "licence", "citation"):
        if not getattr(card, field):
            raise Unmet(f"its card has no {field}", mend=f"state Card.{field}")
    return f"{card.licence}; {card.citation}"


def columns_are_declared(card: Card) -> str:
    """Check that claims, scopes and counts are of its columns, and that no column has a name of the harness's."""
    try:
        check_card(card)
    except AsdbenchError as error:
        raise Unmet(str(error), mend="declare the column in Card.columns") from error
    if card.scopes.get("all") != ():
        raise Unmet("its card has no scope 'all' without columns", mend='add "all": () to Card.scopes')
    if taken := reserved(card.columns):
        raise Unmet(f"item tables have columns of their own: {taken}", mend="rename it in Card.columns")
    return f"columns {', '.join(card.columns) or 'none'}"


def remotes_are_checked(card: Card) -> str:
    """Check addresses and checksums; an invented checksum is worse than none, so an unknown one is left empty."""
    for remote in card.remotes:
        if not (
            remote.url.startswith("https://") and remote.file and re.fullmatch(r"[0-9a-f]{32}|", remote.md5)
        ):
            raise Unmet(f"remote {remote} is incomplete", mend="give https://, a file and its md5, or none")
    return f"{len(card.remotes)} archives"


def metric_set_exists(card: Card, known: Collection[str]) -> str:
    """Check that a run would not only fail at its end."""
    if card.metrics not in known:
        raise Unmet(
            unknown("metric set", card.metrics, known=known), mend="name a metric set in Card.metrics"
        )
    return f"metric set {card.metrics}"


OF_CARDS: Mapping[str, Callable[[Card], str]] = {
    "licence": names_licence_and_source,
    "columns": columns_are_declared,
    "remotes": remotes_are_checked,
}
