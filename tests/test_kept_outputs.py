"""Outputs of models that learn nothing: computed once, kept, handed to each job, and computed again where damaged."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kept_plugin
import msgspec
import numpy as np
import pandas as pd
import pytest
import tiny

from asdbench import Registry, Selector
from asdbench.cli import status_of
from asdbench.core.fingerprints import source_hash_of
from asdbench.data.cached import prune
from asdbench.data.kept import CARD, Cost, Gathered, KeptCard, KeptOutputs, names_of, outputs_of, rows_of
from asdbench.data.pack import Pack
from asdbench.jobs import probe
from asdbench.jobs.failures import Ended
from asdbench.jobs.job import inputs
from asdbench.jobs.keeping import BLOCK, known_outputs
from asdbench.messages.jobs import Case, JobSpec
from asdbench.messages.progress import Progress, ignore_progress
from asdbench.messages.results import ScoreRecord
from asdbench.plugin.registry import Plugin
from asdbench.results.store import Store
from asdbench.runs.plan import plan_run
from asdbench.runs.run import run

TRAIN, TEST, DITHERED = 40, 20, 8
ONE = Selector(
    "synthetic",
    {"machines": "fan", "ids": "1", "train_clips": str(TRAIN), "test_clips": str(TEST // 2), "length_s": "1"},
)
WHOSE = KeptCard(model="energies", module="kept_plugin", code="0")


def registry() -> Registry:
    loaded = tiny.registry()
    loaded.add(Plugin(name="kept"), kept_plugin)
    return loaded


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def planned(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    asked = tiny.request(tmp_path_factory.mktemp("out"), Selector("energies"), cache=cache, dataset=ONE)
    [case] = plan_run(asked, registry(), observer=tiny.Silent()).cases
    return case


class Bench:
    """Runs the jobs of one case in this process, with a store and a folder of kept outputs of its own."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.case, self.folder = case, folder
        self.keep, self.trace = folder / "kept", folder / "trace"
        self.trace.mkdir()
        self._number = 0

    def job(self, *, scorer: Mapping[str, Any] | None = None, keep: bool = True, **model: Any) -> JobSpec:
        """Return a score job with other options, whose model is in the store."""
        self._number += 1
        recipe = self.case.score.recipe
        options = recipe.model.options | {"trace": str(self.trace)} | model
        recipe = msgspec.structs.replace(
            recipe,
            model=msgspec.structs.replace(recipe.model, options=options),
            scorer=msgspec.structs.replace(recipe.scorer, options=recipe.scorer.options | dict(scorer or {})),
        )
        more = {
            "recipe": recipe, "store": str(self.folder / "out"), "keep": str(self.keep) if keep else "",
            "isolation": "none", "model_id": f"{self._number:016x}",
        }  # fmt: skip
        fit = msgspec.structs.replace(self.case.fit, **more, job_id=more["model_id"])
        tiny.run_job_here(fit)
        return msgspec.structs.replace(self.case.score, **more, job_id=f"{self._number + 256:016x}")

    def scored(self, job: JobSpec) -> tuple[ScoreRecord, pd.DataFrame]:
        """Run a score job; return its record and its scores."""
        tiny.run_job_here(job)
        store = Store(Path(job.store))
        record = store.score_record(job.job_id)
        assert record is not None
        return record, pd.read_parquet(store.score_folder(job.job_id) / "scores.parquet")

    def computed(self) -> int:
        """Return of how many items outputs were computed since the last call."""
        file = self.trace / "count"
        counts = [int(line) for line in file.read_text().split()] if file.exists() else []
        file.unlink(missing_ok=True)
        return sum(counts)

    def files(self) -> list[Path]:
        """Return the files of kept outputs."""
        return sorted(self.keep.glob("*/*.npy"))


@pytest.fixture
def bench(planned: Case, tmp_path: Path) -> Bench:
    return Bench(planned, tmp_path)


def test_a_second_scorer_finds_all_outputs_and_scores_the_same_as_without(bench: Bench) -> None:
    first = bench.job()
    bench.computed()  # the fit
    bench.scored(first)
    assert (
        bench.computed() == TRAIN + TEST + DITHERED + 4 + 1
    )  # four of the first block also alone, and one of the second
    kept = bench.files()
    again = bench.job(scorer={"k": 2})
    bench.computed()
    _, scores = bench.scored(again)
    assert bench.computed() == 0
    assert bench.files() == kept
    _, plain = bench.scored(bench.job(scorer={"k": 2}, keep=False))
    assert bench.computed() > TRAIN + TEST
    pd.testing.assert_frame_equal(scores, plain)


def test_the_cost_of_kept_outputs_is_in_every_record(bench: Bench) -> None:
    bench.scored(bench.job(pause_s=0.01))
    job = bench.job(pause_s=0.01, scorer={"k": 3})
    started = time.monotonic()
    record, _ = bench.scored(job)
    spent, least = time.monotonic() - started, 0.01 * (TRAIN + TEST)
    assert record.usage.seconds >= least
    known = known_outputs(job, on_progress=ignore_progress)
    assert known is not None
    assert record.usage.peak_memory_bytes >= known.memory > 1e7
    assert record.ms_per_item >= 10
    assert record.ms_alone is not None
    assert record.ms_alone >= 10
    assert spent < record.usage.seconds + 60  # and is no wait


def test_other_options_weights_channels_and_another_length_have_outputs_of_their_own(bench: Bench) -> None:
    weights = bench.folder / "weights.bin"
    folders = []
    for content, layer, name in (
        ("one", 0, "weights.bin"), ("one", 1, "weights.bin"), ("two", 0, "weights.bin"), ("one", 0, "moved.bin"),
    ):  # fmt: skip
        path = weights.with_name(name)
        path.write_text(content)
        options = kept_plugin.EnergiesConfig(weights=str(path))
        job = bench.job(weights=str(path), weights_sha256=options.weights_sha256, layer=layer)
        known = known_outputs(job, on_progress=ignore_progress)
        assert known is not None
        folders.append({file.parent for file in bench.files()})
    assert [len(each) for each in folders] == [1, 2, 3, 3]  # a file that was moved is the same file
    short = msgspec.structs.replace(bench.job(), length=8000)
    known_outputs(short, on_progress=ignore_progress)
    assert len({file.parent for file in bench.files()}) == 4
    common = msgspec.structs.replace(short.recipe.common, channel="mean")
    mean = msgspec.structs.replace(short, recipe=msgspec.structs.replace(short.recipe, common=common))
    known_outputs(mean, on_progress=ignore_progress)
    assert len({file.parent for file in bench.files()}) == 5


def test_scores_that_seem_to_move_are_scored_once_more_from_samples_not_from_what_is_kept(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "MOVED", -1.0)  # every score moves
    records = [bench.scored(bench.job(keep=keep))[0] for keep in (True, False)]
    assert [record.recognises for record in records] == [False, False]
    for record in records:
        assert probe.UNSTEADY in record.rules


def flip(file: Path, *, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


def test_what_is_damaged_is_computed_again(bench: Bench) -> None:
    job = bench.job()
    _, before = bench.scored(job)
    files = sorted(bench.files(), key=lambda file: len(np.load(file)))
    assert [len(np.load(file)) for file in files] == [DITHERED, TRAIN + TEST - BLOCK, BLOCK]
    flip(files[2], place=-3)  # a row
    bench.computed()
    _, row = bench.scored(bench.job())
    assert bench.computed() == 1 + 1  # and alone
    files[1].write_bytes(files[1].read_bytes()[:300])  # truncated
    files[0].write_bytes(b"\x93NUMPY\x01\x00no header")
    _, rest = bench.scored(bench.job())
    assert bench.computed() == TRAIN + TEST - BLOCK + DITHERED + 4
    assert not files[1].exists()
    pd.testing.assert_frame_equal(before, row)
    pd.testing.assert_frame_equal(before, rest)


def test_without_a_folder_that_can_be_written_outputs_are_computed_all_the_same(bench: Bench) -> None:
    bench.keep.write_text("a file where the folder should be")
    _, scores = bench.scored(bench.job())
    _, plain = bench.scored(bench.job(keep=False))
    pd.testing.assert_frame_equal(scores, plain)


def test_a_job_gets_the_outputs_of_its_own_items_in_their_order(bench: Bench) -> None:
    job = bench.job()
    seen: list[Progress] = []
    known = known_outputs(job, on_progress=seen.append)
    assert known is not None
    assert (len(known.rows), len(known.dithered)) == (TRAIN + TEST, DITHERED)
    assert [(each.stage, each.step, each.steps) for each in seen] == [
        ("outputs", done, TRAIN + TEST + DITHERED) for done in (BLOCK, TRAIN + TEST, TRAIN + TEST + DITHERED)
    ]
    waves = [Pack(Path(job.pack)).view(item) / 32768 for item in [*job.train.ids, *job.test.ids]]
    expected = [np.square(wave.reshape(16, 1000)).mean(axis=1) for wave in waves]
    np.testing.assert_allclose(outputs_of(known.rows)["embedding"][:, 0], expected, rtol=1e-4)
    few = msgspec.structs.replace(job, train=job.test)
    less = known_outputs(few, on_progress=ignore_progress)
    assert less is not None
    assert len(less.rows) == 2 * TEST  # nothing of the items that are kept and not its own
    assert isinstance(less.rows, np.memmap)
    assert bench.keep not in inputs(job)


def test_a_fit_job_and_a_model_that_learns_get_none(bench: Bench, planned: Case) -> None:
    job = bench.job()
    fit = msgspec.structs.replace(planned.fit, store=job.store, keep=job.keep)
    assert known_outputs(fit, on_progress=ignore_progress) is None
    store = Store(Path(job.store))
    record = store.fit_record(job.model_id)
    assert record is not None
    assert record.keeps_outputs
    place = store.model_folder(job.model_id) / "fit.json"
    place.write_bytes(msgspec.json.encode(msgspec.structs.replace(record, keeps_outputs=False)))
    assert known_outputs(job, on_progress=ignore_progress) is None


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ("broken", "ValueError: these weights are broken"),
        (
            "batch",
            "model 'energies' declares keep_outputs, but output 'embedding' of an item changes with the other",
        ),
    ],
)
def test_a_model_that_cannot_be_kept_fails_its_job(bench: Bench, way: str, message: str) -> None:
    with pytest.raises(Ended, match=message) as raised:
        known_outputs(bench.job(way=way), on_progress=ignore_progress)
    assert raised.value.event.status == "error"
    assert "Traceback" in raised.value.event.detail
    assert bench.files() == []


def test_rows_are_found_by_the_samples_of_an_item(planned: Case, tmp_path: Path) -> None:
    pack, kept = Pack(Path(planned.score.pack)), KeptOutputs(tmp_path / "kept")
    names = names_of(pack, [3, 1, 3], length=16000)
    assert names[0] == names[2] != names[1]
    assert names_of(pack, [3], length=16001) == names[:1]  # the clip has no more
    assert names_of(pack, [3], length=15999) != names[:1]
    values = {"embedding": np.arange(6, dtype=np.float32).reshape(2, 1, 3)}
    rows = rows_of(names[:2], values, cost=Cost(seconds=0.5, alone=np.array([0.25, np.nan])))
    kept.keep(rows, card=WHOSE)
    wanted = Gathered(names)
    kept.fill(wanted)
    assert not wanted.missing
    found = outputs_of(wanted.rows)["embedding"][:, 0, 0]
    assert found.tolist() == [0, 3, 0]
    assert wanted.rows["seconds"].tolist() == [0.5, 0.5, 0.5]


def test_a_killed_job_goes_on_where_it_was(cache: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    trace.mkdir()
    (trace / "die").touch()
    asked = tiny.request(
        tmp_path / "out",
        Selector("energies", {"trace": str(trace)}),
        cache=cache,
        dataset=ONE,
        isolation="none",
    )
    document = run(asked, registry(), observer=tiny.Silent())
    [job] = [job for job in document.jobs if job.kind == "score"]
    assert (job.status, "signal 9" in job.message) == ("crashed", True)
    (trace / "die").unlink()
    (trace / "count").unlink()
    document = run(asked, registry(), observer=tiny.Silent())
    assert {job.status for job in document.jobs} == {"ok"}
    counts = [int(line) for line in (trace / "count").read_text().split()]
    assert sum(counts) == TRAIN + TEST + DITHERED - BLOCK + 4


def test_no_scorer_sees_what_is_kept_of_others(cache: Path, tmp_path: Path) -> None:
    options = {"scorer": "curious", "scorer.folder": str(cache / "embeddings")}
    asked = tiny.request(tmp_path, Selector("energies", options), cache=cache, dataset=ONE)
    run(asked, registry(), observer=tiny.Silent())
    [case] = plan_run(asked, registry(), observer=tiny.Silent()).cases
    record = Store(tmp_path).score_record(case.score.job_id)
    assert record is not None
    assert record.isolated in ("landlock", "audit")
    assert "found -1" in record.rules
    assert list((cache / "embeddings").iterdir())


def test_the_cache_lists_and_prunes_what_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cost = Cost(seconds=1.0, alone=np.array([np.nan]))
    rows = rows_of([bytes(32)], {"embedding": np.zeros((1, 1, 2))}, cost=cost)
    current = msgspec.structs.replace(WHOSE, code=source_hash_of("kept_plugin"))
    for name, card in (("energies-1", current), ("energies-2", WHOSE)):
        KeptOutputs(tmp_path / "embeddings" / name).keep(rows, card=card)
    assert status_of(["cache", "info", "--cache", str(tmp_path), "--data-root", str(tmp_path), "--json"]) == 0
    listed = [
        (row["kind"], row["dataset"], row["count"], row["reason"])
        for row in json.loads(capsys.readouterr().out)
    ]
    changed = "made by code that has changed"
    assert listed == [("embeddings", "energies", 1, ""), ("embeddings", "energies", 1, changed)]
    assert [piece.path.name for piece in prune(tmp_path)] == ["energies-2"]
    assert prune(tmp_path) == []
    assert [piece.reason for piece in prune(tmp_path, unused_s=0.0)] == ["not in use"]
    assert list((tmp_path / "embeddings").iterdir()) == []
    assert not (tmp_path / "embeddings" / "energies-1" / CARD).exists()
