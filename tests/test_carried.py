"""Jobs without a shared folder: they need nothing of the machine that sends them, and results are written once."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest
import tiny
from msgspec.structs import force_setattr, replace
from torch import Tensor

from asdbench import Config, Items, ItemView, Model, Trainer
from asdbench.blocks import pinned_file
from asdbench.conformance.jobs import ToyJobs
from asdbench.jobs.executors.carried import Carrier, Files, keep, result_of, unpacked
from asdbench.jobs.job import inputs
from asdbench.messages.jobs import Imitation, JobSpec
from asdbench.messages.progress import Event
from asdbench.messages.rows import read_table
from asdbench.recipes.recipe import Part
from asdbench.results.store import Store


class WeightedConfig(Config, frozen=True, kw_only=True):
    weights: str
    weights_sha256: str = ""

    def __post_init__(self) -> None:
        path, digest = pinned_file(self.weights, self.weights_sha256, option="weights", hint="give a file")
        force_setattr(self, "weights", path)
        force_setattr(self, "weights_sha256", digest)


class Weighted(Model):
    """The mean of the samples times the number in a file."""

    Config = WeightedConfig
    keep_outputs = True

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Learn nothing."""

    def outputs(self, items: ItemView) -> Mapping[str, Tensor]:
        """Return the product, ``[n, 1]``."""
        return {"mean": items.raw().mean(dim=1, keepdim=True) * float(Path(self.config.weights).read_text())}


class Sender:
    """Jobs of a machine that keeps all its files in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.weights, self.others = folder, folder / "weights.txt", folder / "others.msgpack"
        self.kept = folder / "kept"
        fit = ToyJobs(folder).fit()
        self.weights.write_text("2.5")
        self.others.write_bytes(Path(fit.train.table).read_bytes())
        config = WeightedConfig(weights=str(self.weights))
        model = Part(
            name="weighted", path=f"{__name__}:Weighted", options=msgspec.to_builtins(config), source=""
        )
        # As typed, not as resolved.
        recipe = replace(fit.recipe, model=model, changed={"weights": os.path.relpath(self.weights)})
        self.fit = replace(fit, recipe=recipe, keep=str(self.kept))
        self.score = replace(
            self.fit,
            job_id="scores",
            kind="score",
            held=fit.train,
            test=fit.train,
            imitation=Imitation(kinds=["other_class"], others=replace(fit.train, table=str(self.others))),
        )

    def leave(self) -> None:
        """Take all files away, as on another machine."""
        read_table.cache_clear()  # another machine has not read it either
        self.folder.rename(self.folder.with_name("away"))

    def come_back(self) -> None:
        self.folder.with_name("away").rename(self.folder)


@pytest.fixture
def sender(tmp_path: Path) -> Sender:
    return Sender(tmp_path / "sender")


def sent(job: JobSpec) -> tuple[Files, ...]:
    return tuple(Carrier(lambda files: files).sent(job))


def test_a_job_runs_where_nothing_of_the_sender_is(sender: Sender) -> None:
    tiny.run_job_here(sender.fit)
    inside = sent(sender.score)
    tiny.run_job_here(sender.score)
    store = Store(sender.folder / "out")
    expected = store.scores("scores"), store.pseudo_scores("scores")
    assert list(sender.kept.rglob("*.npy"))
    store.score_folder("scores").rename(sender.folder / "local")

    sender.leave()
    with unpacked(sender.score, inside) as here:
        tiny.run_job_here(here)
        result = result_of(here)
    assert not sender.folder.exists()  # nothing is kept at the place that the sender named
    assert not Path(here.store).exists()

    sender.come_back()
    ended = Event(job_id="scores", status="ok", gpu_bytes=7)
    assert keep(sender.score, result, ended=ended) == ended
    assert store.has_result(sender.score)
    assert set(expected[1]["kind"]) == {"other_class"}
    pd.testing.assert_frame_equal(store.scores("scores"), expected[0])
    pd.testing.assert_frame_equal(store.pseudo_scores("scores"), expected[1])


def test_everything_that_a_job_reads_is_sent_and_found(sender: Sender) -> None:
    tiny.run_job_here(sender.fit)
    files = {sender.folder / "pack", Path(sender.fit.train.table), sender.weights}
    model = sender.folder / "out/models" / sender.fit.model_id
    carried = [(job, sent(job)) for job in (sender.fit, sender.score)]
    sender.leave()
    for (job, content), read in zip(carried, (files, {*files, sender.others, model}), strict=True):
        with unpacked(job, content) as here:
            folder = here.store.removesuffix(job.store)
            assert set(inputs(here)) == {Path(f"{folder}{file}") for file in read}
            assert all(file.exists() for file in inputs(here))
            assert here.recipe.model.options["weights"] == f"{folder}{sender.weights}"
            assert (job.keep, here.keep) == (str(sender.kept), "")
            assert replace(here.recipe, model=job.recipe.model, changed=job.recipe.changed) == job.recipe
        assert not Path(folder).exists()


def test_what_jobs_share_is_sent_once(sender: Sender) -> None:
    put: list[Files] = []
    carrier = Carrier(lambda files: put.append(files) or len(put))  # type: ignore[func-returns-value]
    other = replace(sender.fit, job_id="other", model_id="other")
    assert carrier.sent(sender.fit) == carrier.sent(other) == [1, 2, 3]
    assert [len(files) for files in put[1:]] == [1, 1]
    assert put[2] == {str(sender.weights): b"2.5"}


def test_options_that_are_no_pinned_files_stay_as_they_are(sender: Sender) -> None:
    options: dict[str, Any] = {"file": str(sender.weights), "weights": "none.pt", "weights_sha256": "0"}
    scorer = Part(name="one", path="one:One", options=options, source="")
    fit = replace(sender.fit, recipe=replace(sender.fit.recipe, scorer=scorer))
    with unpacked(fit, sent(fit)) as here:
        assert here.recipe.scorer.options == options


class TestAResultIsWrittenOnce:
    @pytest.fixture
    def result(self, sender: Sender) -> Files:
        with unpacked(sender.fit, sent(sender.fit)) as here:
            tiny.run_job_here(here)
            return result_of(here)

    @pytest.fixture
    def ended(self, sender: Sender) -> Event:
        return Event(job_id=sender.fit.job_id, status="ok")

    def test_an_equal_second_one_leaves_the_first(self, sender: Sender, result: Files, ended: Event) -> None:
        assert keep(sender.fit, result, ended=ended) == ended
        record = Store(Path(sender.fit.store)).model_folder(sender.fit.model_id) / "fit.json"
        first = record.stat().st_ino
        assert keep(sender.fit, result, ended=ended) == ended
        assert record.stat().st_ino == first
        assert not list(sender.folder.glob("out/conflicts/*"))
        assert not list(sender.folder.rglob("*.part"))

    def test_another_second_one_fails_its_job_and_both_are_kept(
        self, sender: Sender, result: Files, ended: Event
    ) -> None:
        keep(sender.fit, result, ended=ended)
        other = {**result, "model.safetensors": bytes(len(result["model.safetensors"]))}
        event = keep(sender.fit, other, ended=ended)
        folder = Store(Path(sender.fit.store)).model_folder(sender.fit.model_id)
        [conflict] = sender.folder.glob("out/conflicts/*")
        assert (event.job_id, event.status) == (sender.fit.job_id, "error")
        assert f"with other content (model.safetensors); this result is kept in {conflict}" in event.message
        assert (folder / "model.safetensors").read_bytes() == result["model.safetensors"]
        assert (conflict / "model.safetensors").read_bytes() == other["model.safetensors"]

    def test_a_full_disk_fails_the_job_alone(
        self, sender: Sender, result: Files, ended: Event, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def write(file: Path, content: bytes) -> None:
            with file.open("wb") as handle:
                handle.write(content[:4])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patched:
            patched.setattr(Path, "write_bytes", write)
            event = keep(sender.fit, result, ended=ended)
        assert event.status == "error"
        assert event.message.startswith(f"no space to write {sender.folder}/out/models/")
        assert not list(sender.folder.glob("out/models/.*"))
        assert not Store(Path(sender.fit.store)).has_result(sender.fit)
        assert keep(sender.fit, result, ended=ended) == ended
