"""Boards of printed numbers: every number of the tables once, with its source, apart from measured boards."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import board_pages
import jsonschema
import make_schemas
import msgspec
import pytest

from asdbench_leaderboards.board.build import build, printed_files
from asdbench_leaderboards.board.page import printed_page
from asdbench_leaderboards.board.printed import (
    csv_of,
    groups_of,
    markdown_of,
    measures_of,
    printed_boards,
    remark_on,
)
from asdbench_leaderboards.board.schema import PrintedBoard, PrintedRow
from asdbench_leaderboards.systems import lines


@pytest.fixture(scope="module")
def boards() -> dict[str, PrintedBoard]:
    found = printed_boards()
    assert len({board.name for board in found}) == len(found)
    return {board.name: board for board in found}


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """A record of two machines."""
    board_pages.write_method(tmp_path / "records")
    return tmp_path / "records"


def row_of(board: PrintedBoard, method: str, place: str) -> PrintedRow:
    [row] = [row for row in board.rows if (row.method, row.place) == (method, place)]
    return row


def test_every_number_of_the_tables_stands_on_one_board_as_printed(boards: dict[str, PrintedBoard]) -> None:
    tabled = Counter(
        (line["method"], line["metric"], float(line["value"]))
        for table in ("printed.csv", "published.csv")
        for line in lines(table)
    )
    shown = Counter(
        (row.method, figure.metric, figure.value)
        for board in boards.values()
        for row in board.rows
        for figure in row.figures
    )
    assert shown == tabled
    assert shown.total() > 3900


def test_a_paper_has_its_own_board_with_table_link_and_erratum(boards: dict[str, PrintedBoard]) -> None:
    board = boards["asd_afpa-dcase2020-dev"]
    idnn = row_of(board, "IDNN", "Table 1")
    assert (idnn.source, idnn.link) == ("ASD-AFPA (Interspeech 2023)", "https://arxiv.org/abs/2308.14063")
    assert idnn.words == "idnn"
    assert [each.value for each in idnn.figures if (each.group, each.metric) == ("fan", "auc")] == [67.71]
    mobilenet = row_of(board, "MobileNetV2", "Table 1")
    [average] = [each for each in mobilenet.figures if each.group is None and each.metric == "auc"]
    assert (average.value, average.consistent) == (84.34, 84.0)
    assert "the rest of the table implies 84.00" in remark_on(average)
    assert "84.34\\*" in markdown_of(board)


def test_published_numbers_keep_domain_section_and_source(boards: dict[str, PrintedBoard]) -> None:
    board = boards["dcase2022-dev"]
    row = row_of(board, "TWFR-GMM", "README.md")
    assert row.link.startswith("https://github.com/liuyoude/TWFR-GMM/blob/31c8109/")
    found = {(each.group, each.domain) for each in row.figures if each.metric == "auc"}
    assert ("fan", "source") in found
    assert (None, "target") in found
    assert {each.section for each in row.figures} == {"harmonic mean"}
    assert {f"dcase{year}-eval" for year in range(2020, 2027)} <= boards.keys()


def test_each_row_names_its_source_and_links_are_encrypted(boards: dict[str, PrintedBoard]) -> None:
    rows = [row for board in boards.values() for row in board.rows]
    assert all(row.source and row.place for row in rows)
    links = {row.link for row in rows}
    assert {link for link in links if not link.startswith("https://")} == {""}
    assert {row.source for row in rows if not row.link} == {
        "Anomalous behaviour in industrial robots (course report, Politecnico di Torino)",
        "a technical report of DCASE 2026 Task 2",
        "notes on technical reports of DCASE 2026 Task 2",
    }


def test_second_hand_numbers_are_marked(boards: dict[str, PrintedBoard]) -> None:
    board = boards["dcase2026-dev"]
    marked = {row.method for row in board.rows for each in row.figures if "second hand" in each.note}
    assert {"baseline MAHALA", "best MERL system", "raw BEATs RDP(4) + BEAM"} <= marked
    assert "raw-BEATs+w1_global" not in marked
    text = markdown_of(board)
    assert "| 66.20\\* |" in text
    assert (
        "best MERL system, quoting the challenge and other reports, official score: printed 66.20; second hand"
        in text
    )


def test_rows_are_ordered_by_the_measure_that_most_rows_have(boards: dict[str, PrintedBoard]) -> None:
    board = boards["rmis"]
    main = measures_of(board)[0]
    assert main.name == "RMIS score"
    assert groups_of(board, main) == [None]
    whole = [each.value for row in board.rows for each in row.figures if each.metric == "RMIS score"]
    assert whole == sorted(whole, reverse=True)


def test_files_are_the_same_each_time_and_fit_the_schema(boards: dict[str, PrintedBoard]) -> None:
    board = boards["waspp_net-micro_expression-loso"]
    files = printed_files(board)
    assert files == printed_files(board)
    assert make_schemas.file_of("printed_board").read_text("utf-8") == make_schemas.schema_of("printed_board")
    schema = json.loads(make_schemas.schema_of("printed_board"))
    jsonschema.validate(json.loads(files["board.json"]), schema)
    listed = list(csv.DictReader(csv_of(board).splitlines()))
    assert len(listed) == sum(len(row.figures) for row in board.rows) == 180
    assert {line["database"] for line in listed} == {"", "casme2", "samm", "smic"}


def test_text_of_a_table_is_escaped_on_the_page(boards: dict[str, PrintedBoard]) -> None:
    attack = board_pages.ATTACK
    board = boards["mimii-0db"]
    [row] = board.rows
    figures = [msgspec.structs.replace(each, group=attack, note=attack) for each in row.figures]
    hostile = msgspec.structs.replace(
        row, method=attack, source=attack, place=attack, note=attack, figures=figures
    )
    text = printed_page(msgspec.structs.replace(board, title=attack, rows=[hostile]))
    assert "&lt;img src=x" in text
    assert "<img" not in text
    assert text.count("<script>") == 1


def test_printed_boards_stand_apart_and_never_become_measured_rows(records: Path, tmp_path: Path) -> None:
    index = build([records], out=tmp_path / "site", printed=True)
    assert [entry.name for entry in index.boards] == ["made"]
    assert sum(entry.figures for entry in index.printed) > 3900
    page = (tmp_path / "site" / "index.html").read_text("utf-8")
    assert (
        page.index("Measured boards")
        < page.index("made/index.html")
        < page.index("Boards of printed numbers")
    )
    assert page.index("Boards of printed numbers") < page.index("printed/rmis/index.html")
    again = build([tmp_path / "site"], out=tmp_path / "again")
    assert (again.boards, again.printed) == (index.boards, [])
    board = (tmp_path / "site" / "made" / "board.json").read_bytes()
    assert (tmp_path / "again" / "made" / "board.json").read_bytes() == board
