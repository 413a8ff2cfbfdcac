"""Sorts records into boards: only records of one protocol share a board."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import msgspec

from asdbench import MethodRecord
from asdbench.metrics import main_metric
from asdbench_leaderboards.board.rows import ordered, refused_row, row_of
from asdbench_leaderboards.board.schema import UNKNOWN, Board, Protocol
from asdbench_leaderboards.board.sources import Refused, Source


def boards_of(
    sources: Sequence[Source], refused: Sequence[Refused] = (), *, recomputed: Collection[str] = ()
) -> list[Board]:
    """Return the boards of some records, in the order of their names.

    Args:
        sources: The records.
        refused: Methods that could not start.
        recomputed: Identifiers of the records whose figures were recomputed.
    """
    keys = _keys([source.record for source in sources])
    members: dict[str, list[Source]] = {}
    for source in sources:
        members.setdefault(keys[source.record.record_id], []).append(source)
    names = _names({key: found[0].record for key, found in members.items()})
    boards = [
        _board(
            members[key],
            [each for each in refused if keys[each.beside.record_id] == key],
            name=names[key],
            recomputed=recomputed,
        )
        for key in members
    ]
    return sorted(boards, key=lambda board: board.name)


def protocol_of(record: MethodRecord) -> Protocol:
    """Return the protocol of a record."""
    run, data = record.run, record.data
    return Protocol(
        dataset=run.dataset,
        options=run.dataset_options_resolved,
        metric_set=run.metric_set,
        evaluator=evaluator_of(record),
        groups=data.groups,
        targets=data.targets,
        resample_by=data.resample_by,
        manifest=data.manifest if data.complete else "",
    )


def evaluator_of(record: MethodRecord) -> str:
    """Return distribution, version and source hash of the metric set behind a record."""
    for each in record.run.plugins:
        if each.kind == "metrics" and each.name == record.run.metric_set:
            return f"{each.distribution} {each.version} {each.source_hash or UNKNOWN}"
    return UNKNOWN


def _keys(records: Sequence[MethodRecord]) -> dict[str, str]:
    """Return a key for each record; equal keys share a board."""
    protocols = {record.record_id: protocol_of(record) for record in records}
    loose = {name: _digest(msgspec.structs.replace(each, manifest="")) for name, each in protocols.items()}
    whole: dict[str, set[str]] = {}
    for name, protocol in protocols.items():
        whole.setdefault(loose[name], set()).update(filter(None, [protocol.manifest]))

    def key(name: str) -> str:
        # Partial data have a hash of their own; they join the complete ones where these are the same.
        only = whole[loose[name]]
        manifest = protocols[name].manifest or (next(iter(only)) if len(only) == 1 else "")
        return f"{loose[name]} {manifest}"

    return {name: key(name) for name in protocols}


def _names(first: Mapping[str, MethodRecord]) -> dict[str, str]:
    """Return a folder name for each board: dataset and options, with a hash where two boards would share it."""
    plain = {key: _slug(record.run.selector) for key, record in first.items()}
    times = Counter(plain.values())
    return {
        key: name if times[name] == 1 else f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:6]}"
        for key, name in plain.items()
    }


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-")[:80] or "board"


def _board(
    sources: Sequence[Source], refused: Sequence[Refused], *, name: str, recomputed: Collection[str]
) -> Board:
    records = [source.record for source in sources]
    complete = next((record for record in records if record.data.complete), records[0])
    rows = [row_of(source, recomputed=source.record.record_id in recomputed) for source in sources]
    rows += [refused_row(each) for each in refused]
    main = main_metric(dict.fromkeys(figure.metric for row in rows for figure in row.figures))
    return Board(
        name=name,
        title=complete.run.selector,
        protocol=protocol_of(complete),
        main=main,
        outermost=sorted({figure.group for row in rows for figure in row.figures if figure.group}),
        known_leaks=complete.data.known_leaks,
        notes=list(dict.fromkeys(note for record in records for note in record.data.notes)),
        rows=ordered(rows, main=main),
    )


def _digest(protocol: Protocol) -> str:
    return hashlib.sha256(msgspec.json.encode(protocol, order="sorted")).hexdigest()
