"""``direct_two_branch``: its loss, mixup, classes and network by the specification, and from the request to the table."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import nn

from asdbench import ConfigError, DataError, Info, Items, Registry, Selector
from asdbench.blocks import Mixup, SoftSubclusterAdaCos, attribute_classes, soft_cross_entropy
from asdbench.detector.trainer import Trainer, TrainerSettings
from asdbench.runs.run import run
from asdbench.testing import MethodContract, ScorerContract, make_items
from asdbench_plugins.baselines.branches import least_samples
from asdbench_plugins.baselines.two_branch import TwoBranch, TwoBranchConfig
from asdbench_plugins.scorers.centres import SourceCentres

CENTRES = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.6, 0.8]]
"""Two centres of each of two classes."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread: on shared cores several threads mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def head_of(centres: list[list[float]], *, sub_clusters: int, **options: bool) -> SoftSubclusterAdaCos:
    head = SoftSubclusterAdaCos(2, sub_clusters=sub_clusters, **options)
    head.resize(len(centres) // sub_clusters)
    head.weight.data.copy_(torch.tensor(centres))
    return head


# The values of the next two tests come from specs/state_of_the_art.md, section 5.1.


def test_the_loss_of_sub_cluster_adacos_is_that_of_the_specification() -> None:
    head = head_of(CENTRES, sub_clusters=2)
    logits = head(torch.tensor([[0.8, 0.6]]))
    assert float(head.scale) == pytest.approx(1.553672, abs=1e-6)
    assert logits.softmax(dim=1)[0].tolist() == pytest.approx([0.559296, 0.440704], abs=1e-6)
    loss = soft_cross_entropy(logits, torch.tensor([[0.7, 0.3]]))
    assert float(loss.detach()) == pytest.approx(0.652568, abs=1e-6)


def test_the_fixed_scale_of_116_classes_of_16_centres_is_that_of_the_specification() -> None:
    head = SoftSubclusterAdaCos(4)
    head.resize(116)
    assert float(head.scale) == pytest.approx(10.642862, abs=1e-6)
    assert head.weight.shape == (116 * 16, 4)


def test_the_dynamic_scale_weighs_the_angles_to_all_centres_by_the_labels() -> None:
    # Three classes of one centre, and labels that put all samples 0.3 or 0.4 from their centres.
    head = head_of([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], sub_clusters=1, dynamic=True)
    angles = torch.tensor([0.3, 0.4, 0.3])
    head(torch.stack([angles.cos(), angles.sin()], dim=1), torch.eye(3)[[0, 0, 0]])
    old = math.sqrt(2) * math.log(2)
    sums = [sum(math.exp(old * c) for c in (math.cos(a), math.sin(a), -math.cos(a))) for a in (0.3, 0.4, 0.3)]
    assert float(head.scale) == pytest.approx(math.log(sum(sums) / 3) / math.cos(0.3), rel=1e-5)


def test_the_dynamic_scale_sums_over_the_centres_of_a_class_and_rests_in_evaluation() -> None:
    head = head_of(CENTRES, sub_clusters=2, dynamic=True)
    head.eval()
    head(torch.tensor([[0.8, 0.6]]), torch.tensor([[1.0, 0.0]]))
    assert float(head.scale) == pytest.approx(1.553672, abs=1e-6)
    head.train()
    head(torch.tensor([[0.8, 0.6]]), torch.tensor([[1.0, 0.0]]))
    # acos 0.8 + acos 0.6 is a right angle, so the angle counts as pi / 4.
    total = sum(math.exp(math.sqrt(2) * math.log(3) * cosine) for cosine in (0.8, 0.6, -0.8, 0.96))
    assert float(head.scale) == pytest.approx(math.log(total) / math.cos(math.pi / 4), rel=1e-5)


def test_a_saved_head_brings_its_classes_and_keeps_them_when_a_fit_resumes() -> None:
    head, new = SoftSubclusterAdaCos(4, sub_clusters=2), SoftSubclusterAdaCos(4, sub_clusters=2)
    assert head.weight.shape == (0, 4)
    head.resize(3)
    new.load_state_dict(head.state_dict())
    before = new.weight.clone()
    new.resize(3)
    assert new.classes == 3
    assert torch.equal(new.weight, before)
    with pytest.raises(RuntimeError, match="size mismatch for weight"):
        SoftSubclusterAdaCos(5).load_state_dict(head.state_dict())
    with pytest.raises(ConfigError, match="no formula for the scale of 2 classes"):
        head.resize(1)


def test_frozen_centres_are_not_trained() -> None:
    assert not SoftSubclusterAdaCos(4, trainable=False).weight.requires_grad


def test_mixup_weighs_waves_and_labels_alike_and_leaves_out_as_many_as_it_should() -> None:
    mixup = Mixup(weights=torch.tensor([1.0, 0.25]), order=torch.tensor([1, 0]))
    waves = torch.tensor([[1.0, 2.0], [5.0, 10.0]])
    assert mixup.of(waves).tolist() == [[1.0, 2.0], [2.0, 4.0]]
    assert mixup.of(torch.eye(2)).tolist() == [[1.0, 0.0], [0.75, 0.25]]
    assert mixup.mixed.tolist() == [False, True]
    torch.manual_seed(0)
    drawn = Mixup.draw(2000, probability=0.3)
    assert float(drawn.mixed.float().mean()) == pytest.approx(0.3, abs=0.03)
    assert float(drawn.weights[drawn.mixed].mean()) == pytest.approx(0.5, abs=0.04)
    assert sorted(drawn.order.tolist()) == list(range(2000))


def test_classes_are_claims_attributes_and_domains_as_far_as_they_are_known() -> None:
    columns = {
        "attributes": np.array(["a", "a", "b", "a"]),
        "domain": np.array(["source", "target", "source", "source"]),
        "part": np.array(["train", "train", "additional", "train"]),
    }
    names, codes = attribute_classes(np.array([0, 0, 0, 1]), columns)
    assert names == [
        "000000/a/source", "000000/a/target", "000000/b/source", "000001/a/source",
    ]  # fmt: skip
    assert codes.tolist() == [0, 1, 2, 3]
    assert attribute_classes(np.array([10, 9, 10]), {})[1].tolist() == [1, 0, 1]


def info_of(seconds: float, *, rate: int = 16000) -> Info:
    return Info(item_shape=(int(seconds * rate),), sample_rate=rate, classes=("fan/00", "fan/01"))


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_network_has_the_parameters_of_the_specification() -> None:
    model = TwoBranch(TwoBranchConfig(), info_of(10))
    assert (parameters(model.spectrum), parameters(model.spectrogram)) == (1_529_856, 965_712)
    assert parameters(model) == 2_495_568
    assert parameters(TwoBranch(TwoBranchConfig(), info_of(12))) == 2_528_336
    with torch.no_grad():
        assert model.spectrogram.spectrogram(torch.zeros(1, 160_000)).shape == (1, 500, 313)


@torch.no_grad()
def test_the_spectrogram_is_normalised_by_the_window_and_starts_at_200_hz() -> None:
    model = TwoBranch(TwoBranchConfig(), info_of(1)).eval()
    tone = torch.cos(2 * math.pi * 1000 * torch.arange(16000) / 16000).unsqueeze(0)
    magnitudes = model.spectrogram.spectrogram(tone)[0, :, 10]
    window = torch.hann_window(1024)
    assert int(magnitudes.argmax()) == 64 - 13  # 1000 Hz is bin 64, 203.1 Hz bin 13
    assert float(magnitudes.max()) == pytest.approx(float(window.sum() / window.norm() / 2), rel=1e-4)
    less = TwoBranch(TwoBranchConfig(subtract_mean=True), info_of(1)).spectrogram.spectrogram(tone)
    assert float(less.mean(dim=2).abs().max()) < 1e-5


@torch.no_grad()
@pytest.mark.parametrize("seconds", [0.5, 2.0])
def test_short_clips_pass_and_their_embedding_depends_on_themselves_alone(seconds: float) -> None:
    torch.manual_seed(0)
    model = TwoBranch(TwoBranchConfig(), info_of(seconds)).eval()
    waves = torch.randn(2, int(seconds * 16000))
    both = model(waves)
    assert both.shape == (2, 256)
    torch.testing.assert_close(model(waves[1:]), both[1:], rtol=1e-4, atol=1e-5)
    assert model.spectrum.samples == least_samples() == 70_014


def test_mixed_waves_can_have_classes_of_their_own() -> None:
    model = TwoBranch(TwoBranchConfig(mixed_classes=True), info_of(1))
    mixup = Mixup(weights=torch.tensor([1.0, 0.25]), order=torch.tensor([1, 0]))
    targets = model.targets(torch.eye(2), mixup)
    assert targets.tolist() == [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.75, 0.25]]


def clips(folder: Path, *, claim: list[int], domain: list[str] | None = None) -> Items:
    """Half-second tones, of 500 Hz for claim 0 and 900 Hz for claim 1, in noise."""
    random = np.random.default_rng(0)
    time = np.arange(8000) / 16000
    tones = np.sin(2 * np.pi * (500 + 400 * np.array(claim))[:, np.newaxis] * time)
    waves = (tones + 0.1 * random.standard_normal(tones.shape)).astype(np.float32)
    return make_items(
        waves, info_of(0.5), folder=folder, claim=claim, columns={"domain": domain} if domain else None
    )


def fitted(items: Items, folder: Path, **options: Any) -> tuple[TwoBranch, Trainer]:
    torch.manual_seed(0)
    defaults = {"epochs": 3, "batch_size": 4, "sub_clusters": 2, "checkpoint_every": 3}
    model = TwoBranch(TwoBranchConfig(**(defaults | options)), items.info)
    trainer = Trainer(model, TrainerSettings(seed=0, folder=folder, resume_every_s=0.0))
    model.fit(items, items[:0], trainer)
    return model.eval(), trainer


def test_it_learns_the_classes_and_a_finished_training_loads_into_a_new_model(tmp_path: Path) -> None:
    items = clips(tmp_path / "pack", claim=[0, 1] * 4, domain=["source"] * 6 + ["target"] * 2)
    model, trainer = fitted(items, tmp_path / "fit", mixup=0.0)
    losses = [epoch.losses["scadacos"] for epoch in trainer.log]
    assert losses[-1] < losses[0]
    assert model.head.classes == 4  # two claims in two domains
    assert trainer.rules == ["4 classes of training items, by machine ID, attributes and domain"]
    loaded = TwoBranch(model.config, items.info).eval()
    loaded.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(loaded.outputs(items)["embedding"], model.outputs(items)["embedding"])


def test_the_preset_of_2023_trains_and_one_class_is_refused(tmp_path: Path) -> None:
    items = clips(tmp_path / "pack", claim=[0, 1] * 3)
    model, _ = fitted(items, tmp_path / "fit", mixed_classes=True, excite=False, optimizer="adam", epochs=1)
    assert model.head.classes == 4  # twice as many
    with pytest.raises(
        DataError, match=r"at least 2 training items of 2 classes .* found 3 of 1: use scope=all"
    ):
        fitted(items[[0, 2, 4]], tmp_path / "one")


def test_a_killed_training_resumes_with_the_classes_that_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = clips(tmp_path / "pack", claim=[0, 1] * 4)
    whole, _ = fitted(items, tmp_path / "whole", epochs=2)
    steps = []

    def killed(*arguments: torch.Tensor) -> torch.Tensor:
        steps.append(arguments)
        if len(steps) == 4:
            raise KeyboardInterrupt
        return soft_cross_entropy(*arguments)

    monkeypatch.setattr("asdbench_plugins.baselines.two_branch.soft_cross_entropy", killed)
    with pytest.raises(KeyboardInterrupt):
        fitted(items, tmp_path / "killed", epochs=2)
    assert (tmp_path / "killed" / "resume.safetensors").exists()
    resumed, trainer = fitted(items, tmp_path / "killed", epochs=2)
    assert trainer.resumed
    states = whole.state_dict(), resumed.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def registry() -> Registry:
    loaded = tiny.registry()
    assert "direct_two_branch" in loaded.names("method")
    return loaded


def test_it_runs_from_the_request_to_the_table(tmp_path: Path) -> None:
    method = Selector("direct_two_branch", {"epochs": "1", "batch_size": "4"})
    document = run(
        tiny.request(tmp_path / "run", method, cache=tmp_path / "cache"), registry(), observer=tiny.Silent()
    )
    [row] = [row for row in document.results if row.is_whole and row.metric == "auc"]
    assert row.value is not None
    assert "direct_two_branch" in tiny.table_of(document)


class TestMethod(MethodContract):
    @pytest.fixture
    def method(self) -> str:
        return "direct_two_branch"


class TestScorer(ScorerContract):
    @pytest.fixture
    def scorer(self) -> SourceCentres:
        return SourceCentres()


def test_the_centres_are_those_of_attributes_of_the_source_and_target_points_stay() -> None:
    points = np.array([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [0.0, -3.0]])
    columns = {
        "attributes": np.array(["a", "a", "b", "a"]),
        "domain": np.array(["source", "source", "source", "target"]),
    }
    state = SourceCentres().fit_columns(points, columns)
    half = math.sqrt(0.5)
    np.testing.assert_allclose(state["references"], [[half, half], [-1, 0], [0, -1]], atol=1e-12)
    scores = SourceCentres().score_group(state, np.array([[5.0, 5.0], [0.0, -1.0], [1.0, -1.0]]))
    np.testing.assert_allclose(scores, [0, 0, 1 - half], atol=1e-12)


def test_clusters_take_the_place_of_attributes_and_too_few_are_reported() -> None:
    points = np.array([[1.0, 0.01], [1.0, -0.01], [0.0, 1.0]])
    scorer = SourceCentres(means="kmeans", centres=2)
    state = scorer.fit_group(points)
    np.testing.assert_allclose(sorted(state["references"].tolist()), [[0, 1], [1, 0]], atol=1e-9)
    assert SourceCentres(means="kmeans", centres=5).group_rules(
        SourceCentres(means="kmeans", centres=5).fit_group(points)
    ) == ["source_centres has 3 clusters instead of 5"]
    only_target = scorer.fit_columns(points, {"domain": np.array(["target"] * 3)})
    assert len(only_target["references"]) == 2  # one domain alone is treated as the source
