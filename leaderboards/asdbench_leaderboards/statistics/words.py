"""The text of a comparison: a table for each pair of methods and what it means in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from asdbench_leaderboards.cells import METRICS, metric_name, whole_name
from asdbench_leaderboards.statistics.compare import FEW_GROUPS, Comparison, MethodRank, Pair
from asdbench_leaderboards.statistics.contrast import Contrast

MANY = 1_000_000
"""From so many items or seeds on, numbers are no advice."""


def comparison_text(compared: Comparison) -> str:
    """Return all pairs with their verdicts, and the ranks of three methods or more."""
    blocks = [f"{compared.dataset}, differences with 95 % intervals over items and seeds"]
    blocks += [_pair(pair) for pair in compared.pairs]
    if len(compared.methods) > 2:
        for metric in dict.fromkeys(each.metric for each in compared.ranks):
            blocks.append(_ranks([each for each in compared.ranks if each.metric == metric]))
    return "\n\n".join(blocks)


def verdict(pair: Pair) -> str:
    """Return the verdict, for example ``A is better on 4 of 6 machine types; overall +1.2 [0.3, 2.1]: A is better``."""
    whole = pair.whole
    overall = f"overall {_difference(whole, decimals=1)}: {_outcome(pair)}"
    if not pair.groups:
        return overall
    wins = [
        f"{name} is better on {pair.wins(side)}"
        for name, side in ((pair.first, "first"), (pair.second, "second"))
        if pair.wins(side)
    ]
    total = f"of {len(pair.groups)} {_kinds(pair)}"
    if not wins:
        return f"neither is better beyond doubt on any {total}; {overall}"
    return f"{wins[0]} {total}{''.join(f', {each}' for each in wins[1:])}; {overall}"


def _pair(pair: Pair) -> str:
    from tabulate import tabulate

    rows = [_row(each, name=next(iter(each.groups.values())), pair=pair) for each in pair.groups]
    rows.append(_row(pair.whole, name=whole_name(pair.metric), pair=pair))
    headers = [metric_name(pair.metric), pair.first, pair.second, "difference", "p (Holm)", "better"]
    table = tabulate(rows, headers=headers, disable_numparse=True)
    return "\n".join([table, verdict(pair), *_more(pair)])


def _row(found: Contrast, *, name: str, pair: Pair) -> Sequence[str]:
    values = ["-" if value is None else f"{100 * value:.2f}" for value in (found.first, found.second)]
    better = {"first": pair.first, "second": pair.second, "neither": "", "unknown": f"({found.why})"}
    return [
        name,
        *values,
        _difference(found, decimals=2),
        "-" if found.p is None else _p_text(found.p),
        better[found.better],
    ]


def _difference(found: Contrast, *, decimals: int) -> str:
    if found.difference is None:
        return "-"
    text = f"{100 * found.difference:+z.{decimals}f}"
    if found.low is None or found.high is None:
        return text
    return f"{text} [{100 * found.low:z.{decimals}f}, {100 * found.high:z.{decimals}f}]"


def _p_text(p: float) -> str:
    return f"{p:.3f}" if p >= 0.0005 else "<0.001"


def _outcome(pair: Pair) -> str:
    match pair.whole.better:
        case "first":
            return f"{pair.first} is better"
        case "second":
            return f"{pair.second} is better"
        case "neither":
            return "they cannot be told apart"
    return f"no interval, {pair.whole.why}"


def _more(pair: Pair) -> Iterator[str]:
    whole = pair.whole
    if whole.p is not None:
        yield _seed_noise(whole)
        if whole.better == "neither":
            yield _needed(whole)
    if pair.wilcoxon_p is not None:
        text = f"over {_kinds(pair)}: Wilcoxon's p {_p_text(pair.wilcoxon_p)}"
        if pair.other_groups_low is not None and pair.other_groups_high is not None:
            ends = f"[{100 * pair.other_groups_low:z.1f}, {100 * pair.other_groups_high:z.1f}]"
            text += f", mean difference on others of their kind within {ends}"
        yield text
    elif pair.groups:
        yield f"over {_kinds(pair)}: no test, since it needs {FEW_GROUPS} with a value, found {len(pair.groups)}"


def _seed_noise(whole: Contrast) -> str:
    if whole.seed_noise is None:
        return "noise of seeds: unknown, since a method has a single seed"
    verb = "exceeds" if whole.exceeds_seed_noise else "does not exceed"
    first, second = whole.seeds
    seeds = f"{first} seeds each" if first == second else f"{first} and {second} seeds"
    return f"noise of seeds: the difference {verb} the ±{100 * whole.seed_noise:.2f} that {seeds} leave"


def _needed(whole: Contrast) -> str:
    ways = [
        f"{needed:,} {kind} instead of {found:,}"
        for needed, kind, found in (
            (whole.items_needed, "items", whole.items),
            (whole.seeds_needed, "seeds each", max(whole.seeds)),
        )
        if needed is not None and needed < MANY
    ]
    if not ways:
        return "to tell so small a difference, neither more items nor more seeds alone would do"
    return f"to tell a difference of this size in 80 % of the cases: {', or '.join(ways)}"


def _ranks(ranks: Sequence[MethodRank]) -> str:
    from tabulate import tabulate

    rows = [
        [each.method, f"{100 * each.value:.2f}", str(each.rank), f"{each.best} to {each.worst}"]
        for each in ranks
    ]
    name = METRICS.get(ranks[0].metric, ranks[0].metric)
    return tabulate(rows, headers=["method", name, "rank", "between"], disable_numparse=True)


def _kinds(pair: Pair) -> str:
    return f"{pair.column} types" if pair.column == "machine" else f"groups by {pair.column}"
