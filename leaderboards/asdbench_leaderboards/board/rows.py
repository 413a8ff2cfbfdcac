"""From records to the rows of a board."""

from __future__ import annotations

from collections.abc import Sequence

from asdbench import EnsembleRecipe, MethodRecord, PluginOrigin, ResultRow
from asdbench.metrics import DOMAIN
from asdbench_leaderboards.board.schema import UNKNOWN, Figure, Licences, Row, Verified
from asdbench_leaderboards.board.sources import Refused, Source, failure_of, shown_results

RUNNABLE = ("method", "ensemble")
OURS = "asdbench"
"""The distribution of the built-in plugins."""
NO_WEIGHTS = "none"


def row_of(source: Source, *, recomputed: bool = False) -> Row:
    """Return the row of a record.

    Args:
        source: The record.
        recomputed: Whether its figures were recomputed from the scores of its items.
    """
    record, summary = source.record, source.record.method
    verified: Verified = "rerun" if source.rerun else "recomputed" if recomputed else "claimed"
    origins, (pretraining, weights) = _origins(record), _weights(record)
    return Row(
        record=record.record_id,
        method=source.label,
        family=next((each.plugin for each in origins if each.name == summary.recipe.method), UNKNOWN),
        failure=failure_of(source),
        seeds=summary.seeds,
        failed_seeds=summary.failed_seeds,
        selection=summary.selection,
        verified=verified,
        complete=not summary.partial_data,
        size=record.data.size,
        members=len(summary.recipe.members) if isinstance(summary.recipe, EnsembleRecipe) else 1,
        reduced=summary.reduced,
        approximate=summary.approximate,
        batch_dependent=summary.batch_dependent,
        recognises=summary.recognises,
        isolated=summary.isolated,
        pretraining=pretraining,
        cost=summary.cost,
        hardware=hardware_of(record),
        licences=Licences(
            code=_code_licence(origins),
            weights=weights,
            data=record.data.licence or UNKNOWN,
        ),
        printed_in=[f"{each.paper}, {each.table}, {each.method}" for each in summary.printed],
        rules=summary.rules,
        time=record.run.time,
        figures=[_figure(row, record.data.groups) for row in shown_results(record)],
    )


def refused_row(refused: Refused) -> Row:
    """Return the row of a method that could not start."""
    data = refused.beside.data
    return Row(
        record="", method=refused.method, family=UNKNOWN, failure=f"not run: {refused.why}", seeds=[],
        failed_seeds=refused.beside.run.seeds, selection=UNKNOWN, verified="claimed", complete=data.complete,
        size=data.size, members=1, reduced=False, approximate="", batch_dependent=False, recognises=False,
        isolated=UNKNOWN, pretraining=UNKNOWN, cost=None, hardware=[], licences=Licences(), printed_in=[], rules=[],
        time=refused.beside.run.time,
        figures=[],
    )  # fmt: skip


def figure_of(row: Row, metric: str, *, group: str | None = None, domain: str | None = None) -> Figure | None:
    """Return a figure of a row; None: it has none."""
    wanted = (metric, group, domain)
    return next((each for each in row.figures if (each.metric, each.group, each.domain) == wanted), None)


def ordered(rows: Sequence[Row], *, main: str) -> list[Row]:
    """Return rows best first: complete data before partial data, failures last, equal values by name."""

    def key(row: Row) -> tuple[bool, bool, float, str, str]:
        figure = figure_of(row, main)
        value = figure.value if figure else None
        return row.failure is not None, not row.complete, -(value or 0.0), row.method, row.record

    return sorted(rows, key=key)


def hardware_of(record: MethodRecord) -> list[str]:
    """Return the processor, threads and GPU of every kind of machine that trained or scored."""
    found: dict[str, None] = {}
    models = [(model.environment, model.device, model.threads) for model in record.models.values()]
    scores = [(score.environment, score.device, score.threads) for score in record.scores.values()]
    for key, device, threads in models + scores:
        environment = record.environments[key]
        gpu = environment.gpus[:1] if device != "cpu" else []
        found[", ".join([f"{environment.processor}, {threads} threads", *gpu])] = None
    return list(found)


def _figure(row: ResultRow, groups: Sequence[str]) -> Figure:
    """Return a result as a figure of a board."""
    return Figure(
        metric=row.metric,
        group=row.groups.get(groups[0]) if groups else None,
        domain=row.groups.get(DOMAIN),
        value=row.value,
        low=row.low,
        high=row.high,
        printed=row.printed,
        why=row.why,
        per_seed=row.per_seed,
    )


def _code_licence(origins: Sequence[PluginOrigin]) -> str:
    """Return the licence of the method's code, or those of an ensemble and its members."""
    found = [each.licence or UNKNOWN for each in origins]
    return ", ".join(dict.fromkeys(found)) or UNKNOWN


def _weights(record: MethodRecord) -> tuple[str, str]:
    """Return what a method was pre-trained on and under which licences, as far as recipe and plugins say."""
    recipe = record.method.recipe
    members = recipe.members if isinstance(recipe, EnsembleRecipe) else [recipe]
    known = {digest: file for each in record.run.plugins for digest, file in each.weights.items()}
    if digests := sorted({digest for member in members for digest in member.pinned()}):
        files = [(digest, known.get(digest)) for digest in digests]
        data = [
            f"{file.trained_on} ({file.name})"
            if file
            else f"{UNKNOWN} data: the weights with SHA-256 {digest[:16]}"
            for digest, file in files
        ]
        licences = dict.fromkeys(file.licence if file else UNKNOWN for _, file in files)
        return ", ".join(data), ", ".join(licences)
    # Only of our own plugins do we know that they load no weights in another way.
    ours = {each.distribution for each in _origins(record)} == {OURS}
    return (NO_WEIGHTS, NO_WEIGHTS) if ours else (UNKNOWN, UNKNOWN)


def _origins(record: MethodRecord) -> list[PluginOrigin]:
    """Return the origins of a record's method, or of an ensemble and its members."""
    recipe = record.method.recipe
    names = {recipe.method}
    if isinstance(recipe, EnsembleRecipe):
        names |= {member.method for member in recipe.members}
    return [each for each in record.run.plugins if each.kind in RUNNABLE and each.name in names]
