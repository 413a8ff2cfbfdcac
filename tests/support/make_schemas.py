"""Writes the JSON Schemas of what commands write to ``docs/schemas``.

python tests/support/make_schemas.py
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from asdbench.cli.new import NewPackage
from asdbench.conformance.findings import Report
from asdbench.messages.happenings import RunEvent
from asdbench.results.schema import MethodRecord, RunDocument
from asdbench.runs.status import RunStatus
from asdbench_leaderboards.board.schema import Board, BoardIndex, PrintedBoard
from asdbench_leaderboards.regression.baseline import Baseline
from asdbench_leaderboards.regression.gate import GateReport
from asdbench_leaderboards.report.build import Report as WrittenReport
from asdbench_leaderboards.statistics.compare import Comparison

FOLDER = Path(__file__).parents[2] / "docs" / "schemas"
TYPES: dict[str, type] = {
    "run": RunDocument,
    "record": MethodRecord,
    "event": RunEvent,
    "status": RunStatus,
    "compare": Comparison,
    "board": Board,
    "boards": BoardIndex,
    "printed_board": PrintedBoard,
    "baseline": Baseline,
    "check": GateReport,
    "conformance": Report,
    "report": WrittenReport,
    "new": NewPackage,
}
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_of(name: str) -> str:
    """Return the text of ``<name>.schema.json``."""
    schema = {"$schema": DIALECT, **msgspec.json.schema(TYPES[name])}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def file_of(name: str) -> Path:
    """Return the place of ``<name>.schema.json``."""
    return FOLDER / f"{name}.schema.json"


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in TYPES:
        file_of(name).write_text(schema_of(name), "utf-8")
