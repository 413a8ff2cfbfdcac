"""Training of the micro-expression networks, and all folds of a tiny run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from torch import Tensor
from torch.nn import functional as F

from asdbench import (
    DataError,
    Info,
    ItemContext,
    Items,
    ResultRow,
    RunDocument,
    Selector,
    Trainer,
    read_method,
)
from asdbench.detector.trainer import TrainerSettings
from asdbench.messages.jobs import Case
from asdbench.metrics.classification import confusion
from asdbench.runs.plan import plan_run
from asdbench.runs.run import run
from asdbench.testing import ScorerContract, make_items
from asdbench_datasets.faces.synthetic_faces import SUBJECTS
from asdbench_plugins.waspp.config import WasppConfig
from asdbench_plugins.waspp.model import WasppModel
from asdbench_plugins.waspp.scorer import ClassProbability

TARGETS = ("negative", "positive", "surprise")
SMALL = {"variant": "wasppnet", "width": "0.0625", "input_size": "18", "epochs": "2"}
FACES = Selector("synthetic_faces", {"subjects": "1", "size": "28"})


def items_of(folder: Path, targets: Sequence[int]) -> Items:
    """Return pictures whose class shows in the mean of u."""
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(len(targets), 20, 20, 2)).astype(np.float32)
    raw[..., 0] += np.array(targets, dtype=np.float32)[:, None, None] - 1
    info = Info(item_shape=(20, 20, 2), sample_rate=None, targets=TARGETS, feature_shape=(20, 20, 2))
    items = make_items(raw, info, folder=folder, claim=[0] * len(targets), featurizer=lambda values: values)
    items.target = torch.tensor(targets)
    return items


def model_of(items: Items, **options: object) -> WasppModel:
    torch.manual_seed(0)
    values = {"width": 0.0625, "input_size": 18, "lr": 3e-3, "batch_size": 8, "epochs": 6} | options
    return WasppModel(msgspec.convert(values, WasppConfig), items.info)


def trained(model: WasppModel, items: Items, folder: Path) -> Trainer:
    trainer = Trainer(model, TrainerSettings(seed=1, folder=folder, resume_every_s=1e9))
    model.fit(items, items[:0], trainer)
    return trainer


def test_training_separates_plain_classes(tmp_path: Path) -> None:
    items = items_of(tmp_path / "pack", [0, 1, 2] * 8)
    model = model_of(items)
    trainer = trained(model, items, tmp_path)
    losses = [entry.losses["cross_entropy"] for entry in trainer.log]
    assert all(0 <= entry.losses["accuracy"] <= 1 for entry in trainer.log)
    assert trainer.log[-1].losses["accuracy"] > trainer.log[0].losses["accuracy"]
    assert losses[-1] < 0.7 * losses[0]
    assert [entry.checkpoint for entry in trainer.log] == [False] * 5 + [True]
    model.eval()
    logits = model.outputs(items)["logits"]
    assert logits.shape == (24, 1, 3)
    assert (logits[:, 0].argmax(dim=1) == items.target).float().mean() > 0.6


def test_checkpoints_are_kept_where_they_are_asked_for(tmp_path: Path) -> None:
    items = items_of(tmp_path / "pack", [0, 1, 2] * 2)
    trainer = trained(model_of(items, epochs=5, checkpoint_every=2), items, tmp_path)
    assert [entry.epoch for entry in trainer.log if entry.checkpoint] == [2, 4, 5]


def test_a_last_batch_of_one_is_dropped_and_recorded(tmp_path: Path) -> None:
    items = items_of(tmp_path / "pack", [0, 1, 2] * 3)
    trainer = trained(model_of(items, epochs=1), items, tmp_path)
    assert trainer.rules == [
        "the last batch of each epoch has one item and is dropped: batch norm needs at least two"
    ]


def test_too_few_items_or_items_without_a_class_are_refused(tmp_path: Path) -> None:
    items = items_of(tmp_path / "pack", [0, -1, 2])
    with pytest.raises(DataError, match="1 of 3 training items have no class"):
        trained(model_of(items), items, tmp_path / "one")
    with pytest.raises(DataError, match="needs at least 2 training items, found 1"):
        trained(model_of(items), items[:1], tmp_path / "two")


def test_flow_on_disk_is_planned_subject_by_subject(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "micro_expression"
    folder.mkdir(parents=True)
    people = [("casme2", "sub01", "negative"), ("samm", "006", "surprise"), ("smic", "s01", "positive")]
    lines = [f"{k},{who},{k}.npy" for k, who in enumerate(",".join(words) for words in people * 2)]
    (folder / "clips.csv").write_text("\n".join(["name,database,subject,class,flow", *lines]), "utf-8")
    rng = np.random.default_rng(0)
    for k in range(len(lines)):
        np.save(folder / f"{k}.npy", rng.normal(size=(30, 32, 2)).astype(np.float32))
    options = {"dataset": Selector("micro_expression", {"size": "28"}), "allow_partial": True}
    request = tiny.request(tmp_path, Selector("waspp", SMALL), cache=tmp_path / "cache", **options)
    planned = plan_run(request, tiny.registry(), observer=tiny.Silent())
    assert [case.fold for case in planned.cases] == ["loso:casme2_sub01", "loso:samm_006", "loso:smic_s01"]
    assert all(case.inapplicable is None for case in planned.cases)
    for case in planned.cases:
        assert (len(case.fit.train.ids), len(case.score.test.ids)) == (4, 2)
        assert set(case.fit.train.columns) == {"database", "subject"}
        assert case.score.test.columns == {}
        assert sorted(set(case.fit.train.target)) == sorted(
            {0, 1, 2} - {TARGETS.index(people_of(case, people))}
        )


def people_of(case: Case, people: Sequence[tuple[str, str, str]]) -> str:
    """Return the class of the subject that a fold holds out."""
    return next(label for database, subject, label in people if case.fold == f"loso:{database}_{subject}")


@pytest.mark.parametrize("variant", ["wasppnet", "dsppnet", "ststnet", "vggm"])
def test_two_folds_stacked_by_torch_func_learn_as_each_alone(variant: str) -> None:
    info = Info(item_shape=(75, 75, 2), sample_rate=None, targets=TARGETS, feature_shape=(75, 75, 2))
    models = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        config = WasppConfig(variant=variant, width=0.05, input_size=24, dropout=0.0)  # type: ignore[arg-type]
        models.append(WasppModel(config, info).train())
    first = models[0]
    flow = torch.randn(2, 4, first.system.channels, first.size, first.size)
    parameters, buffers = torch.func.stack_module_state([*models])

    targets = torch.tensor([[0, 1, 2, 0], [2, 2, 1, 0]])

    def loss(
        weights: dict[str, Tensor], state: dict[str, Tensor], pictures: Tensor, classes: Tensor
    ) -> Tensor:
        return F.cross_entropy(torch.func.functional_call(first, (weights, state), (pictures,)), classes)

    slopes = torch.vmap(torch.func.grad(loss), randomness="different")(parameters, buffers, flow, targets)
    for number, model in enumerate(models):
        F.cross_entropy(model(flow[number]), targets[number]).backward()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(slopes[name][number], parameter.grad, rtol=1e-3, atol=1e-4)
        for name, kept in model.named_buffers():
            torch.testing.assert_close(buffers[name][number], kept)


class TestClassProbability(ScorerContract):
    @pytest.fixture
    def scorer(self) -> ClassProbability:
        return ClassProbability()


def test_class_scores_are_log_probabilities() -> None:
    context = ItemContext(claim=np.zeros(1, dtype=np.int64), columns={})
    scores = ClassProbability().score({}, {"logits": np.log([[[1.0, 2.0, 5.0]]])}, context)
    np.testing.assert_allclose(np.exp(scores), [[[0.125, 0.25, 0.625]]])
    with pytest.raises(DataError, match=r"output 'logits' has shape \[4, 3\]"):
        ClassProbability().score({}, {"logits": np.zeros((4, 3))}, context)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faces")


@pytest.fixture(scope="module")
def finished(place: Path) -> RunDocument:
    request = tiny.request(place, Selector("waspp", SMALL), cache=place / "cache", dataset=FACES, slots=1)
    return run(request, tiny.registry(), observer=tiny.Silent())


@pytest.fixture(scope="module")
def cases(place: Path, finished: RunDocument) -> list[Case]:
    request = tiny.request(place, Selector("waspp", SMALL), cache=place / "cache", dataset=FACES)
    return plan_run(request, tiny.registry(), observer=tiny.Silent()).cases


def test_every_subject_is_a_fold_and_every_clip_is_predicted_once(
    place: Path, finished: RunDocument, cases: list[Case]
) -> None:
    assert {job.status for job in finished.jobs} == {"ok"}
    assert len(finished.jobs) == 2 * len(SUBJECTS)
    tables = [pd.read_parquet(file) for file in sorted(place.glob("scores/*/scores.parquet"))]
    items = pd.concat(tables)
    tested = [item for case in cases for item in case.score.test.ids]
    assert len(items) == len(tested) == len(set(tested)) == finished.data.items
    assert {"score_0", "score_1", "score_2"} <= set(items.columns)


def test_results_are_of_pooled_predictions_by_database_and_of_all(place: Path, finished: RunDocument) -> None:
    accuracies = by_database(finished, "accuracy")
    assert set(accuracies) == {*SUBJECTS, None}
    parts, whole = [accuracies[name] for name in SUBJECTS], accuracies[None]
    right = sum(row.value * row.items for row in parts if row.value is not None)
    assert whole.value is not None
    assert whole.items == sum(row.items for row in parts)
    assert whole.value * whole.items == pytest.approx(right)
    assert by_database(finished, "one_vs_rest_accuracy")[None].value == pytest.approx(
        (1 + 2 * whole.value) / 3
    )
    assert {row.metric for row in finished.results} >= {"macro_f1", "mean_recall"}
    [label] = finished.methods
    items = read_method(place, finished, label=label).items
    scores = items[[f"score_42_{name}" for name in TARGETS]].to_numpy(dtype=np.float64)
    truth = np.array([TARGETS.index(name) for name in items["label"]])
    matrix = confusion(truth, scores.argmax(axis=1), classes=3)
    found = finished.methods[label].confusion
    assert found is not None
    assert found.classes == list(TARGETS)
    assert found.per_seed == {"42": matrix.astype(int).tolist()}
    assert set(found.by_group) == set(SUBJECTS)
    assert np.sum([part["42"] for part in found.by_group.values()], axis=0).tolist() == matrix.tolist()
    assert matrix.sum() == whole.items
    assert np.trace(matrix) / matrix.sum() == pytest.approx(whole.value)


def by_database(document: RunDocument, metric: str) -> dict[str | None, ResultRow]:
    return {row.groups["database"]: row for row in document.results if row.metric == metric}


def test_a_fold_never_trains_on_its_subject(cases: list[Case]) -> None:
    assert len(cases) == len(SUBJECTS)
    everything = {item for case in cases for item in case.score.test.ids}
    for case in cases:
        tested, learned = set(case.score.test.ids), set(case.fit.train.ids)
        subject = case.fold.removeprefix("loso:")
        assert not tested & learned
        assert tested | learned == everything
        assert subject not in case.fit.train.columns["subject"]
        assert case.fit.test.ids == []
        assert set(case.score.test.target) == {-1}


def test_a_network_of_another_size_runs_on_the_same_pack(place: Path, finished: RunDocument) -> None:
    options = {"variant": "ststnet", "epochs": "1"}
    request = tiny.request(place, Selector("waspp", options), cache=place / "cache", dataset=FACES)
    document = run(request, tiny.registry(), observer=tiny.Silent())
    assert {job.status for job in document.jobs} == {"ok"}
    [summary] = document.methods.values()
    assert summary.cost is not None
    assert summary.cost.parameters == 1_683
