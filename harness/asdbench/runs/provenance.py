"""Which code, plugins and options the results of a run come from, for its record."""

from __future__ import annotations

import datetime
from typing import Any

import msgspec

from asdbench.core.environment import DISTRIBUTION, environment, required_by
from asdbench.metrics.resampling import BOOTSTRAP_SEED, RESAMPLES
from asdbench.plugin.registry import RUN, Kind, Registry
from asdbench.recipes.recipe import PARTS, EnsembleRecipe
from asdbench.results.schema import PluginOrigin, RunInfo
from asdbench.runs.plan import Planned, trained
from asdbench.runs.request import open_dataset, split_protocol


def run_info(planned: Planned, registry: Registry) -> RunInfo:
    """Return what was run, by which code and where."""
    request, card = planned.request, planned.prepared.card
    return RunInfo(
        id=planned.run_id,
        time=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=list(request.command),
        dataset=card.name,
        dataset_options=dict(request.dataset.options),
        dataset_options_resolved=_resolved_options(planned, registry),
        methods=[recipe.label for recipe in planned.recipes],
        seeds=list(request.seeds),
        selection=request.selection,
        device=planned.resources.device,
        threads=planned.resources.threads,
        metric_set=card.metrics,
        resamples=RESAMPLES,
        bootstrap_seed=BOOTSTRAP_SEED,
        plugins=_origins(planned, registry),
        environment=environment(),
    )


def _resolved_options(planned: Planned, registry: Registry) -> dict[str, Any]:
    """Return every option of the dataset, with paths as typed."""
    selector, _ = split_protocol(registry, planned.request.dataset)
    options: dict[str, Any] = msgspec.to_builtins(open_dataset(registry, selector))
    return options


def _origins(planned: Planned, registry: Registry) -> list[PluginOrigin]:
    """Return plugin, version and source of everything the results come from."""
    # A dict serves as an ordered set: methods share parts, and each is listed once.
    used: dict[tuple[Kind, str], None] = {
        ("dataset", planned.request.dataset.name): None,
        ("metrics", planned.prepared.card.metrics): None,
    }
    for recipe in planned.recipes:
        if isinstance(recipe, EnsembleRecipe):
            used["ensemble", recipe.method] = None
    for recipe in trained(planned.recipes):
        used["method", recipe.method] = None
        for one in (recipe, *recipe.units.values()):
            used |= {(part, getattr(one, part).name): None for part in PARTS}
    digests = {digest for recipe in trained(planned.recipes) for digest in recipe.pinned()}
    return [_origin(registry, kind, name=name, digests=digests) for kind, name in used]


def _origin(registry: Registry, kind: Kind, *, name: str, digests: set[str]) -> PluginOrigin:
    owner = registry.owner(kind, name)
    ours = owner.distribution == DISTRIBUTION  # its libraries are in ``environment`` already
    known = {} if kind in RUN else registry.entry(kind, name).weights
    return PluginOrigin(
        kind=kind,
        name=name,
        plugin=owner.name,
        distribution=owner.distribution,
        version=owner.version,
        source_hash=None if kind in RUN else registry.source_hash(kind, name),
        licence=_licence(registry, kind, name=name),
        libraries={} if ours else required_by(owner.distribution),
        weights={digest: known[digest] for digest in sorted(digests & known.keys())},
    )


def _licence(registry: Registry, kind: Kind, *, name: str) -> str:
    """Return the licence of the code of a method or an ensemble; empty for anything else."""
    if kind not in RUN:
        return ""
    offered = registry.method(name) if kind == "method" else registry.ensemble(name)
    return (offered.licence if offered else "") or registry.owner(kind, name).licence
