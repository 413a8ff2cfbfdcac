"""Test items ranked by score, where they lie among held-out normals, and the CSV of ``asdbench run --scores``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import made_runs as made
import msgspec
import pandas as pd
import pytest

from asdbench import RunDocument, RunError
from asdbench.cli import status_of
from asdbench.cli.run import _write_scores
from asdbench.results.ranking import TOP, ranked, strangest, write_scores
from asdbench_leaderboards.table import results_table

CLAIMS = ("machine", "section")
KNN = made.recipe_of("knn")
BY_MACHINE = msgspec.structs.replace(KNN, common=msgspec.structs.replace(KNN.common, scope="machine"))


def items_of(*rows: tuple[str, str, str | None, float, float], length: int | None = None) -> pd.DataFrame:
    """Items of (source, machine, label, score of seed 0, score of seed 1)."""
    table = pd.DataFrame(rows, columns=["source", "machine", "label", "score_0", "score_1"])
    table["label"] = table["label"].astype("string")
    table["length"] = pd.array([length] * len(table), dtype="Int64")
    return table.assign(section="00", start=0, sha256="")


TESTED = items_of(
    ("a.wav", "fan", None, 1.0, 3.0),
    ("b.wav", "fan", "normal", 5.0, 5.0),
    ("c.wav", "fan", None, 0.0, 0.0),
    ("d.wav", "saw", None, 90.0, 90.0),
)
HELD = items_of(
    ("1.wav", "fan", "normal", 0.0, 4.0),
    ("2.wav", "fan", "normal", 2.0, float("nan")),
    ("3.wav", "fan", "normal", float("nan"), 1.0),
)


def table_of(items: pd.DataFrame = TESTED, held: pd.DataFrame = HELD, **options: Any) -> pd.DataFrame:
    defaults = {"seeds": (0, 1), "claims": CLAIMS, "recipe": BY_MACHINE}
    return ranked(items, held, **(defaults | options)).set_index("source")


def test_items_are_ranked_within_their_class_by_the_mean_over_seeds() -> None:
    table = table_of()
    assert list(table.index) == ["b.wav", "d.wav", "a.wav", "c.wav"]
    assert table["rank"].to_dict() == {"b.wav": 1, "d.wav": 1, "a.wav": 2, "c.wav": 3}
    assert table["score"].to_dict() == {"b.wav": 5.0, "d.wav": 90.0, "a.wav": 2.0, "c.wav": 0.0}
    assert table_of(claims=())["rank"].to_dict() == {"d.wav": 1, "b.wav": 2, "a.wav": 3, "c.wav": 4}


def test_the_percentile_compares_each_seed_with_the_normals_that_it_held_out() -> None:
    table = table_of()
    # Seed 0: 1.0 among 0, 2. Seed 1: 3.0 among 1, 4. An equal score (0.0 of seed 0) counts half.
    assert table["percentile"].drop("d.wav").to_dict() == {"b.wav": 100.0, "a.wav": 50.0, "c.wav": 12.5}
    assert table["normals"].to_dict() == {"b.wav": 2, "d.wav": 0, "a.wav": 2, "c.wav": 2}


def test_a_class_without_held_out_normals_is_compared_with_others_only_if_one_model_scores_all() -> None:
    assert pd.isna(table_of()["percentile"]["d.wav"])
    pooled = table_of(recipe=KNN).loc["d.wav"]
    assert (pooled["percentile"], pooled["normals"]) == (100.0, 2)
    assert table_of(held=pd.DataFrame(), recipe=KNN)["percentile"].isna().all()


def test_an_item_that_a_seed_did_not_score_has_no_rank() -> None:
    missing = TESTED.assign(score_1=[3.0, float("nan"), 0.0, 90.0])
    assert list(table_of(missing).index) == ["a.wav", "d.wav", "c.wav"]


def test_the_strangest_are_the_first_without_a_label() -> None:
    table = ranked(TESTED, HELD, seeds=(0, 1), claims=CLAIMS, recipe=BY_MACHINE)
    found = strangest(table, seeds=(0, 1))
    assert [(item.source, item.rank, item.percentile) for item in found] == [
        ("d.wav", 1, None), ("a.wav", 2, 50.0), ("c.wav", 3, 12.5),
    ]  # fmt: skip
    assert found[1].per_seed == [1.0, 3.0]
    assert found[1].columns == {"machine": "fan", "section": "00"}
    many = items_of(*((f"{k:02}.wav", "fan", None, float(k), float(k)) for k in range(TOP + 5)))
    top = strangest(ranked(many, HELD, seeds=(0,), claims=CLAIMS, recipe=KNN), seeds=(0,))
    assert [item.source for item in top] == [f"{k:02}.wav" for k in range(TOP + 4, 4, -1)]


def test_the_table_shows_them_and_says_where_normals_to_compare_with_are_missing() -> None:
    found = strangest(ranked(TESTED, HELD, seeds=(0, 1), claims=CLAIMS, recipe=BY_MACHINE), seeds=(0, 1))
    run = made.run_of(made.recorded(TESTED, about={"unlabelled": 3, "strangest": found}))
    lines = results_table(run.document).splitlines()
    start = lines.index("highest scores of the 3 test items with an unknown label:")
    assert [line.split() for line in lines[start + 1 : start + 6 : 2]] == [
        ["rank", "file", "machine", "score", "above", "held-out", "normals"],
        ["1", "d.wav", "saw", "90", "-"],
        ["3", "c.wav", "fan", "0", "12.5", "%", "of", "2"],
    ]
    none_held = (
        "no normal items are held out to compare these scores with; the option held=0.2 holds a fifth out, and at least "
        "one of two"
    )
    assert none_held in lines


def test_a_single_item_without_a_label_is_no_plural() -> None:
    found = strangest(ranked(TESTED, HELD, seeds=(0, 1), claims=CLAIMS, recipe=BY_MACHINE), seeds=(0, 1))
    run = made.run_of(made.recorded(TESTED, about={"unlabelled": 1, "strangest": found[:1]}))
    assert "\nhighest score of the only test item with an unknown label:\n" in results_table(run.document)


def test_the_table_does_not_advise_an_option_that_was_given_but_names_what_is_lacking() -> None:
    given = msgspec.structs.replace(BY_MACHINE, common=msgspec.structs.replace(BY_MACHINE.common, held=0.2))
    found = strangest(ranked(TESTED, HELD, seeds=(0, 1), claims=CLAIMS, recipe=given), seeds=(0, 1))
    run = made.run_of(made.recorded(TESTED, recipe=given, about={"unlabelled": 3, "strangest": found}))
    text = results_table(run.document)
    assert "held=0.2 holds a fifth out" not in text
    assert "classes with too few training items hold none out (see the rules above)" in text


def channels_of(*rows: tuple[str, str | None, float, float]) -> pd.DataFrame:
    """Items of (source, label, score of channel 0, score of channel 1)."""
    items = items_of(
        *((source, "saw", label, score, score) for source, label, *both in rows for score in both), length=100
    )
    return items.assign(start=[0, 100] * len(rows), channel=["0", "1"] * len(rows))


STEREO = channels_of(("a.wav", None, 1.0, 9.0), ("b.wav", None, 5.0, 4.0), ("c.wav", "normal", 3.0, 6.0))


def test_channels_of_one_recording_share_the_rank_of_their_highest_score() -> None:
    table = ranked(STEREO, HELD, seeds=(0, 1), claims=CLAIMS, recipe=KNN)
    assert table[["source", "channel", "score", "largest", "rank"]].to_numpy().tolist() == [
        ["a.wav", "1", 9.0, 9.0, 1],
        ["a.wav", "0", 1.0, 9.0, 1],
        ["c.wav", "1", 6.0, 6.0, 2],
        ["c.wav", "0", 3.0, 6.0, 2],
        ["b.wav", "0", 5.0, 5.0, 3],
        ["b.wav", "1", 4.0, 5.0, 3],
    ]


def test_channels_of_one_clip_are_ranked_together_and_clips_apart() -> None:
    clips = channels_of(("a.wav", None, 1.0, 9.0), ("a.wav", None, 5.0, 4.0)).assign(
        start=[0, 200, 100, 300], start_s=["0", "0", "1", "1"]
    )
    table = ranked(clips, HELD, seeds=(0, 1), claims=CLAIMS, recipe=KNN)
    assert table[["start_s", "channel", "rank"]].to_numpy().tolist() == [
        ["0", "1", 1],
        ["0", "0", 1],
        ["1", "0", 2],
        ["1", "1", 2],
    ]


def test_the_table_shows_the_highest_channel_of_each_recording() -> None:
    found = strangest(ranked(STEREO, HELD, seeds=(0, 1), claims=CLAIMS, recipe=KNN), seeds=(0, 1))
    assert [(item.source, item.columns["channel"], item.rank) for item in found] == [
        ("a.wav", "1", 1),
        ("b.wav", "0", 3),
    ]
    run = made.run_of(made.recorded(STEREO, about={"unlabelled": 4, "strangest": found}))
    lines = results_table(run.document).splitlines()
    title = "highest scores of the 4 test items with an unknown label, at most one channel of each recording or clip:"
    assert lines[lines.index(title) + 1].split()[:4] == ["rank", "file", "channel", "score"]


def test_the_csv_has_the_largest_score_of_the_channels(tmp_path: Path) -> None:
    table = written(tmp_path, made.recorded(STEREO, about={"seeds": [0, 1]}, held=HELD))
    assert table[["rank", "file", "channel", "score", "largest"]].iloc[1].tolist() == [
        1,
        "a.wav",
        0,
        1.0,
        9.0,
    ]
    assert "largest" not in written(tmp_path, made.recorded(TESTED, about={"seeds": [0, 1]}, held=HELD))


def test_an_ensemble_is_not_advised_to_hold_items_out() -> None:
    found = strangest(ranked(TESTED, HELD, seeds=(0,), claims=CLAIMS, recipe=BY_MACHINE), seeds=(0,))
    about = {"unlabelled": 3, "strangest": found}
    run = made.run_of(made.recorded(TESTED, recipe=made.ensemble_of("knn"), about=about))
    text = results_table(run.document)
    assert "an ensemble has no scores of held-out normal items to compare these with" in text
    assert "held=0.2" not in text


def test_warnings_about_the_data_are_shown_once_for_all_methods() -> None:
    run = made.run_of(made.recorded(TESTED), made.recorded(TESTED, label="idnn"))
    noted = msgspec.structs.replace(run.document.data, notes=["channel 0 is silent"])
    text = results_table(msgspec.structs.replace(run.document, data=noted))
    assert text.count("warning: channel 0 is silent") == 1
    assert text.endswith("warning: channel 0 is silent")


def written(tmp_path: Path, *methods: Any, **data: Any) -> pd.DataFrame:
    run = made.run_of(*methods)
    changed = msgspec.structs.replace(run.document.data, claims=list(CLAIMS), **data)
    document = msgspec.structs.replace(run.document, data=changed)
    write_scores(type(run)(document=document, methods=run.methods), tmp_path / "new" / "scores.csv")
    return pd.read_csv(tmp_path / "new" / "scores.csv", dtype={"section": str})


def test_the_csv_has_a_row_for_each_method_and_item(tmp_path: Path) -> None:
    about = {"seeds": [0, 1]}
    one = made.recorded(TESTED, about=about, held=HELD, recipe=BY_MACHINE)
    other = made.recorded(TESTED.drop(columns="score_1"), label="idnn", about={"seeds": [0]})
    table = written(tmp_path, one, other)
    assert list(table.columns) == [
        "method", "rank", "file", "machine", "section", "label", "score", "percentile", "normals", "score_0", "score_1",
    ]  # fmt: skip
    assert table[table["method"] == "knn"]["file"].tolist() == ["b.wav", "d.wav", "a.wav", "c.wav"]
    assert table[table["method"] == "idnn"]["rank"].tolist() == [1, 1, 2, 3]
    first = table.iloc[0]
    assert (first["label"], first["score"], first["percentile"], first["normals"]) == (
        "normal",
        5.0,
        100.0,
        2,
    )
    assert table["score_1"].isna().sum() == 4


def test_items_cut_from_recordings_have_their_place_in_the_csv(tmp_path: Path) -> None:
    cut = items_of(("a.wav", "fan", None, 1.0, 3.0), length=800).assign(start=1600)
    table = written(tmp_path, made.recorded(cut, about={"seeds": [0, 1]}))
    assert table.loc[0, ["file", "start", "length"]].tolist() == ["a.wav", 1600, 800]


def test_the_scores_of_classifiers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="made is a classification task, whose items have no anomaly scores"):
        written(tmp_path, made.recorded(TESTED), targets=["a", "b"])


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (
            "scores.parquet",
            "--scores scores.parquet: scores are written as CSV; use a name that ends with .csv",
        ),
        ("afile/scores.csv", "cannot write afile/scores.csv: afile is not a folder"),
    ],
)
def test_a_wrong_file_for_scores_is_refused_before_anything_is_read(
    place: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "afile").touch()
    assert status_of(["run", "-p", "idnn", "-d", "synthetic", "--cache", "cache", "--scores", place]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()


def test_a_file_of_scores_is_named_with_its_number_of_scores(
    finished: tuple[Path, RunDocument],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, document = finished
    file = tmp_path / "scores.csv"
    _write_scores([document], out=folder, scores=file)
    assert capsys.readouterr().err == f"{file}: {len(pd.read_csv(file))} scores\n"
    monkeypatch.setattr("asdbench.results.ranking.ranked", lambda items, held, **_: items.iloc[:0])
    _write_scores([document], out=folder, scores=file)
    assert "no scores, since the data have no test items" in capsys.readouterr().err
