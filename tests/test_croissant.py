"""Croissant descriptions of datasets: every shipped one is valid, and says what the card says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_documents import card_of
from msgspec.structs import replace

from asdbench import Card, Count, Remote, Selector, load_registry
from asdbench.cli import status_of
from asdbench.data.croissant import CONFORMS_TO, croissant_of
from asdbench.runs.request import open_dataset

Capture = pytest.CaptureFixture[str]
# The library's, of its own dependency.
LIBRARY = pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")
MADE = replace(
    card_of("made"),
    licence="CC BY 4.0",
    homepage="https://example.org/made",
    columns={"machine": "machine type", "odd name/": "which"},
    claims=("machine",),
    remotes=(
        Remote(url="https://example.org/a b.zip?download=1", md5="0" * 32, part="dev"),
        Remote(url="https://example.org/more.csv.gz", md5="1" * 32, part="dev"),
        Remote(url="https://example.org/unknown.zip", md5="", part="dev"),
    ),
    expected=(
        Count(columns={"machine": "fan"}, items=3, label="normal"),
        Count(columns={"odd name/": "x"}, items=2),
    ),
    known_leaks=("the same motor twice",),
    notes=("short clips",),
    contents={"sheet.xlsx": "ab" * 32},
)


def shipped(name: str) -> Card:
    registry = load_registry()
    card: Card = open_dataset(registry, Selector(name)).card
    return card


def record_set(described: dict[str, Any], name: str) -> dict[str, Any]:
    [found] = [each for each in described["recordSet"] if each["@id"] == name]
    return found


# Against the reference implementation of the format.


@LIBRARY
@pytest.mark.parametrize("name", load_registry().names("dataset"))
def test_every_shipped_dataset_is_valid_croissant(name: str) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    card = shipped(name)
    read = mlcroissant.Dataset(jsonld=json.loads(json.dumps(croissant_of(card))))
    about = read.metadata
    assert about.ctx.issues.errors == set()
    assert (about.name, about.cite_as, about.url) == (name, card.citation, card.homepage or None)
    assert {file.content_url: file.md5 for file in about.distribution} == {
        remote.url: remote.md5 for remote in card.remotes if remote.md5
    }
    assert [row["labels/name"] for row in read.records("labels")] == list(
        card.targets or ("normal", "anomaly")
    )
    if card.expected:
        counted = sum(row["counts/items"] for row in read.records("counts"))
        assert counted == sum(count.items for count in card.expected)
    limits = about.data_limitations or []
    assert {*card.known_leaks, *card.notes} <= set(limits)


@LIBRARY
@pytest.mark.parametrize("fault", ["no checksum", "no data type", "no record"])
def test_the_reference_implementation_refuses_what_is_wrong(fault: str) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    described = json.loads(json.dumps(croissant_of(MADE)))
    mlcroissant.Dataset(jsonld=json.loads(json.dumps(described)))
    if fault == "no checksum":
        del described["distribution"][0]["md5"]
    elif fault == "no data type":
        del described["recordSet"][0]["field"][0]["dataType"]
    else:
        del described["recordSet"][0]["data"]
    with pytest.raises(mlcroissant.ValidationError, match="error"):
        mlcroissant.Dataset(jsonld=described)


# What a description holds.


def test_a_file_has_its_address_format_and_checksum_and_one_without_a_checksum_is_named() -> None:
    described = croissant_of(MADE)
    assert [(each["@id"], each["encodingFormat"], each["md5"]) for each in described["distribution"]] == [
        ("dev/a%20b.zip", "application/zip", "0" * 32),
        ("dev/more.csv.gz", "application/gzip", "1" * 32),
    ]
    limits = described["rai:dataLimitations"]
    assert limits[:2] == ["the same motor twice", "short clips"]
    assert "unknown.zip (https://example.org/unknown.zip)" in limits[2]
    assert limits[3] == f"official SHA-256 of sheet.xlsx: {'ab' * 32}"


def test_the_columns_and_counts_of_the_card_are_records() -> None:
    described = croissant_of(MADE)
    assert record_set(described, "columns")["data"] == [
        {"columns/name": "machine", "columns/description": "machine type", "columns/known": "always"},
        {"columns/name": "odd name/", "columns/description": "which", "columns/known": "in training"},
    ]
    counts = record_set(described, "counts")
    assert [field["@id"] for field in counts["field"]] == [
        "counts/machine", "counts/odd%20name%2F", "counts/label", "counts/items",
    ]  # fmt: skip
    assert counts["data"] == [
        {"counts/machine": "fan", "counts/odd%20name%2F": "", "counts/label": "normal", "counts/items": 3},
        {"counts/machine": "", "counts/odd%20name%2F": "x", "counts/label": "", "counts/items": 2},
    ]


def test_a_licence_is_an_address_only_where_the_card_names_exactly_one() -> None:
    assert croissant_of(MADE)["license"] == "https://creativecommons.org/licenses/by/4.0/"
    mixed = croissant_of(replace(MADE, licence="CC BY 4.0; a part: MIT"))["license"]
    assert mixed == {"@type": "sc:CreativeWork", "name": "CC BY 4.0; a part: MIT"}


def test_the_purpose_of_a_classification_names_its_classes_and_generated_data_say_so() -> None:
    described = croissant_of(replace(MADE, targets=("negative", "positive"), generated=True))
    assert described["rai:dataUseCases"] == ["benchmarking classification of audio into negative, positive"]
    assert described["rai:dataCollection"].startswith("generated by asdbench")
    assert record_set(described, "labels")["data"] == [
        {"labels/name": "negative"},
        {"labels/name": "positive"},
    ]


# The command.


def test_the_command_prints_the_description_of_the_given_options(capsys: Capture) -> None:
    assert status_of(["datasets", "info", "synthetic[machines=fan,ids=1,train_clips=7]", "--croissant"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["conformsTo"] == CONFORMS_TO
    counts = {
        (row["counts/part"], row["counts/label"]): row["counts/items"]
        for row in record_set(printed, "counts")["data"]
    }
    assert counts == {("train", "normal"): 7, ("test", "normal"): 20, ("test", "anomaly"): 20}


def test_the_command_writes_a_file(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "new" / "mimii.json"
    assert status_of(["datasets", "info", "mimii", "--croissant", "--out", str(file)]) == 0
    assert capsys.readouterr().out.startswith(f"{file}: ")
    assert json.loads(file.read_text("utf-8")) == json.loads(json.dumps(croissant_of(shipped("mimii"))))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--croissant", "--json"], "leave out one of them"),
        (["--out", "x.json"], "--out is the file of --croissant"),
    ],
)
def test_contradicting_options_are_refused(words: list[str], message: str, capsys: Capture) -> None:
    assert status_of(["datasets", "info", "synthetic", *words]) == 2
    assert message in capsys.readouterr().err
    assert not Path("x.json").exists()
