from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
import tiny
import torch
from torch import Tensor

from asdbench.core.info import Info
from asdbench.detector.items import Items
from asdbench.detector.trainer import Trainer, TrainerSettings
from asdbench.detector.weights import load_file
from asdbench.errors import ConfigError, DataError
from asdbench.plugin.entries import Selector
from asdbench.runs.run import run
from asdbench_plugins.contrastive_ensemble import PRESETS, asdbench_methods
from asdbench_plugins.contrastive_ensemble.config import EnsembleConfig
from asdbench_plugins.contrastive_ensemble.features import PlanesConfig, SpectralPlanes
from asdbench_plugins.contrastive_ensemble.model import EnsembleModel
from asdbench_plugins.contrastive_ensemble.networks import FusionClassifier, TimeCnn
from asdbench_plugins.contrastive_ensemble.pretraining import partners
from asdbench_plugins.contrastive_ensemble.scorer import WeightedGaussians
from asdbench_plugins.contrastive_ensemble.spectra import weighted_means

SAMPLES = 4096
PLANES = PlanesConfig(n_mels=16, n_fft=256, hop=256)
SMALL: dict[str, Any] = {
    "width": 0.1,
    "embedding_dims": 256,
    "projector_dims": 8,
    "predictor_dims": 4,
    "shift_hop": 256,
    "pitch_grain": 256,
    "pretrain_epochs": 1,
    "finetune_epochs": 1,
    "time_epochs": 1,
    "fusion_epochs": 1,
    "pretrain_batch": 2,
    "finetune_batch": 2,
    "time_batch": 2,
    "fusion_batch": 2,
}
WITHOUT_FUSION = {"time_epochs": 0, "fusion_epochs": 0}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads on cores that others use too wait for each other more than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def info_of(*, classes: int = 3, feature_shape: tuple[int, ...] = (3, 16, 17)) -> Info:
    return Info(
        item_shape=(SAMPLES,),
        sample_rate=16000,
        classes=tuple(f"fan/{number:02d}" for number in range(classes)),
        feature_shape=feature_shape,
    )


class Clips:
    """What the model asks of ``Items``, in memory."""

    def __init__(self, waves: Tensor, claim: Tensor, featurizer: SpectralPlanes) -> None:
        self.waves, self.claim, self.featurizer = waves, claim, featurizer

    def __len__(self) -> int:
        return len(self.claim)

    def __getitem__(self, rows: Tensor) -> Clips:
        return Clips(self.waves[rows], self.claim[rows], self.featurizer)

    def raw(self) -> Tensor:
        return self.waves

    def features(self) -> Tensor:
        return self.featurize(self.waves)

    def featurize(self, raw: Tensor) -> Tensor:
        return cast("Tensor", self.featurizer(raw))

    def batches(
        self, size: int, *, generator: torch.Generator | None = None, drop_last: bool = False
    ) -> list[Clips]:
        count = len(self)
        order = torch.arange(count) if generator is None else torch.randperm(count, generator=generator)
        return [self[rows] for rows in torch.split(order, size) if len(rows) == size or not drop_last]


def clips(count: int, *, claim: Tensor | None = None) -> Items:
    generator = torch.Generator().manual_seed(0)
    claim = torch.arange(count) % 3 if claim is None else claim
    pitch = 300.0 * (1 + claim.unsqueeze(1))
    time = torch.arange(SAMPLES) / 16000
    waves = torch.sin(2 * math.pi * pitch * time) + 0.3 * torch.randn(count, SAMPLES, generator=generator)
    items = cast("Items", Clips(0.1 * waves, claim, SpectralPlanes(PLANES, info_of(feature_shape=()))))
    cast("Clips", items).featurizer.fit(items)
    return items


def small_model(**options: Any) -> EnsembleModel:
    torch.manual_seed(0)
    return EnsembleModel(msgspec.convert(SMALL | options, EnsembleConfig), info_of())


def fitted(
    folder: Path, *, items: int = 4, resume_every_s: float = 60.0, **options: Any
) -> tuple[EnsembleModel, Trainer]:
    model = small_model(**options)
    trainer = Trainer(model, TrainerSettings(seed=0, folder=folder, resume_every_s=resume_every_s))
    model.fit(clips(items), clips(0), trainer)
    return model, trainer


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[EnsembleModel, Trainer]:
    """A fit of two steps in each of the four stages."""
    torch.set_num_threads(1)
    return fitted(tmp_path_factory.mktemp("unbroken"))


def test_planes_are_the_log_mels_of_power_and_magnitude_and_the_linear_power_mel() -> None:
    config = msgspec.structs.replace(PLANES, standardize=False)
    planes = SpectralPlanes(config, info_of())(0.1 * torch.randn(2, SAMPLES))
    assert planes.shape == (2, 3, 16, 17)
    assert torch.allclose(planes[:, 2].log10() * 10, planes[:, 0], atol=1e-3)
    # By Jensen's inequality and filters of a few bins the magnitude's mel is within some dB of the power's.
    difference = planes[:, 1] - planes[:, 0]
    assert 0 < float(difference.mean()) < 10
    silent = SpectralPlanes(config, info_of())(torch.zeros(1, SAMPLES))
    assert silent[0, :, 0, 0].tolist() == pytest.approx([-100, -200, 1e-10])


def test_log_mels_are_standardized_over_all_training_clips() -> None:
    planes = clips(40).features()
    assert planes[:, :2].mean(dim=(0, 2, 3)).tolist() == pytest.approx([0, 0], abs=1e-4)
    assert planes[:, :2].std(dim=(0, 2, 3)).tolist() == pytest.approx([1, 1], abs=1e-3)
    assert float(planes[:, 2].min()) > 0


def test_training_clips_of_silence_do_not_break_the_features() -> None:
    silent = cast("Clips", clips(2))
    silent.waves = torch.zeros(2, SAMPLES)
    silent.featurizer.fit(cast("Items", silent))
    planes = silent.features()
    assert planes[:, :2].abs().max() == 0
    assert torch.isfinite(weighted_means(planes[:, 2])).all()


def test_the_featurizer_reads_mono_waves_alone() -> None:
    with pytest.raises(ConfigError, match=r"reads mono waves, but items have shape \[5, 2\]"):
        SpectralPlanes(PLANES, Info(item_shape=(5, 2), sample_rate=16000))


def test_partners_are_other_clips_of_the_class_where_there_are_any() -> None:
    claim = torch.tensor([0, 0, 0, 1, 1, 2])
    drawn = torch.stack([partners(claim) for _ in range(50)])
    assert torch.equal(claim[drawn], claim.expand(50, 6))
    assert not bool((drawn[:, :5] == torch.arange(5)).any())
    assert bool((drawn[:, 5] == 5).all())
    assert set(drawn[:, 0].tolist()) == {1, 2}


@torch.no_grad()
def test_outputs_have_the_shapes_of_the_method_and_do_not_depend_on_the_batch() -> None:
    model, items = small_model(embedding_dims=512).eval(), clips(4)
    together = model.outputs(items)
    shapes = {name: tuple(value.shape[1:]) for name, value in together.items()}
    assert shapes == {
        "spectral": (1, 512), "statistics": (1, 16), "temporal": (1, 512), "fusion": (1, 128), "claim_nll": (1,),
    }  # fmt: skip
    alone = model.outputs(items[torch.tensor([2])])
    for name, value in alone.items():
        torch.testing.assert_close(value[0], together[name][2], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_claim_that_is_not_of_the_unit_has_no_probability() -> None:
    nll = small_model().eval().outputs(clips(3, claim=torch.tensor([0, -1, 2])))["claim_nll"]
    assert torch.isnan(nll).flatten().tolist() == [False, True, False]


def stages_of(trainer: Trainer) -> list[str]:
    return list(dict.fromkeys(entry.stage for entry in trainer.log))


def test_the_four_stages_run_in_their_order_and_yield_their_losses(
    unbroken: tuple[EnsembleModel, Trainer],
) -> None:
    losses = {entry.stage: set(entry.losses) for entry in unbroken[1].log}
    assert list(losses) == ["pretrain", "finetune", "time", "fusion"]
    assert losses["pretrain"] == {"simsiam", "arcface", "auxiliary"}


def test_the_estimate_counts_what_each_stage_trains() -> None:
    stages = {"pretrain_epochs": 4, "finetune_epochs": 2, "time_epochs": 8, "fusion_epochs": 5}
    whole = small_model(**stages)
    assert whole.epochs == pytest.approx(0.6 * 3 * (4 + 2) + 0.1 * 8 + 0.3 * 5)
    assert small_model(**stages, simsiam=False).epochs == pytest.approx(0.6 * (4 + 3 * 2) + 0.1 * 8 + 0.3 * 5)
    alone = small_model(pretrain_epochs=4, finetune_epochs=2, time_epochs=0, fusion_epochs=0)
    assert alone.epochs == pytest.approx(3 * (4 + 2))  # the outputs are then the spectral model's alone


@pytest.mark.parametrize(
    ("options", "stages", "losses"),
    [
        ({"order": "joint", "mix_beta": 0.4, "cosine": "all"}, ["pretrain", "finetune"], {"arcface", "auxiliary"}),
        ({"order": "sequential", "finetune_epochs": 0}, ["simsiam", "arcface"], {"simsiam"}),
        ({"simsiam": False, "mix": "mixup", "time_epochs": 1}, ["arcface", "finetune", "time"], {"arcface", "auxiliary"}),
        ({"pair": "same_id", "finetune_epochs": 0}, ["pretrain"], {"simsiam", "arcface", "auxiliary"}),
        ({"pretrain_epochs": 0, "pseudo": "sp", "sp_mode": "batch", "hinge": True}, ["finetune"], {"finetune"}),
        ({"pretrain_epochs": 0, "finetune_epochs": 0}, [], set()),
    ],
)  # fmt: skip
def test_options_choose_the_stages_and_outputs_are_those_of_what_was_trained(
    tmp_path: Path, options: dict[str, Any], stages: list[str], losses: set[str]
) -> None:
    model, trainer = fitted(tmp_path, **(WITHOUT_FUSION | options))
    assert stages_of(trainer) == stages
    assert {name for entry in trainer.log[:1] for name in entry.losses} == losses
    expected = {"spectral", "statistics"} | ({"temporal"} if "time" in stages else set())
    with torch.no_grad():
        assert set(model.eval().outputs(clips(3))) == expected


def test_the_time_cnn_is_not_built_without_the_fusion() -> None:
    model = small_model(**{name: value for name, value in PRESETS["wo_fusion"].items() if name != "first"})
    assert not any(isinstance(module, TimeCnn | FusionClassifier) for module in model.modules())


def test_stages_leave_alone_what_they_do_not_train(unbroken: tuple[EnsembleModel, Trainer]) -> None:
    states = [small_model().state_dict()]
    for stage in ("pretrain", "finetune", "time", "fusion"):
        states.append(load_file(unbroken[1].checkpoint_file(stage, 1))[0])
    moved = [
        {name.partition(".")[0] for name in after if not torch.equal(before[name], after[name])}
        for before, after in itertools.pairwise(states)
    ]
    assert moved == [
        {"spectral", "spectral_arcface", "simsiam"},
        {"spectral"},
        {"temporal", "temporal_arcface"},
        {"fusion", "fusion_arcface"},
    ]


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


@pytest.mark.parametrize("die_at", [1, 5, 7])
def test_a_killed_fit_ends_with_the_bits_of_an_unbroken_one(
    unbroken: tuple[EnsembleModel, Trainer], tmp_path: Path, die_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    deadline = [die_at]
    step = Trainer._step

    def counted(self: Trainer, stage: Any, *rest: Any) -> None:
        if len(steps) == deadline[0]:
            raise Killed
        steps.append(stage.name)
        step(self, stage, *rest)

    monkeypatch.setattr(Trainer, "_step", counted)
    with pytest.raises(Killed):
        fitted(tmp_path, resume_every_s=0.0)
    deadline[0] = -1
    state = fitted(tmp_path)[0].state_dict()
    assert steps == [stage for stage in ("pretrain", "finetune", "time", "fusion") for _ in range(2)]
    expected = unbroken[0].state_dict()
    assert [name for name, value in expected.items() if not torch.equal(value, state[name])] == []


@pytest.mark.parametrize(("items", "sizes", "rules"), [(5, [4, 4], ["time", "fusion"]), (3, [3, 3], [])])
def test_a_last_batch_of_one_is_left_out_by_a_rule_and_a_small_set_is_one_batch(
    tmp_path: Path, items: int, sizes: list[int], rules: list[str]
) -> None:
    model = small_model(pretrain_epochs=0, finetune_epochs=0, time_batch=4, fusion_batch=4)
    seen: list[int] = []
    for module in (model.temporal, model.fusion):
        module.register_forward_pre_hook(
            lambda module, inputs: seen.append(len(inputs[0])) if module.training else None
        )
    trainer = Trainer(model, TrainerSettings(seed=0, folder=tmp_path))
    model.fit(clips(items), clips(0), trainer)
    assert seen == sizes
    expected = [f"stage {stage}: the last batch of each epoch has one item and is dropped" for stage in rules]
    assert trainer.rules == expected


def test_what_cannot_be_trained_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least 2 training items, found 1"):
        fitted(tmp_path, items=1)
    with pytest.raises(ConfigError, match=r"needs features \[3, mels, frames\], found \[128, 9\]"):
        EnsembleModel(EnsembleConfig(), info_of(feature_shape=(128, 9)))
    with pytest.raises(ConfigError, match="needs at least 2 classes, found 1"):
        EnsembleModel(EnsembleConfig(), info_of(classes=1))


def test_fine_tuning_pulls_augmented_clips_near_and_pushes_anomalies_away(tmp_path: Path) -> None:
    options = WITHOUT_FUSION | {
        "pretrain_epochs": 0, "finetune_epochs": 20, "finetune_batch": 8, "finetune_lr": 0.01, "checkpoint_every": 20
    }  # fmt: skip
    _, trainer = fitted(tmp_path, items=8, **options)
    losses = [entry.losses["finetune"] for entry in trainer.log]
    assert losses[-1] < min(0.0, losses[0] - 0.2)


def test_the_method_is_the_papers_and_presets_change_what_they_say() -> None:
    method, *_ = asdbench_methods()
    assert (method.name, method.reduced_presets) == ("contrastive_ensemble", ("small",))
    assert (method.defaults, method.scope, method.classes, method.length_s) == ({}, "all", 2, 10.0)
    config = EnsembleConfig()
    assert (config.pretrain_epochs, config.finetune_epochs, config.time_epochs, config.fusion_epochs) == (
        50,
        50,
        200,
        20,
    )
    assert (config.mix_lambda, config.n_stack, config.pitch_semitones, config.max_shift) == (
        0.4,
        2,
        -20.0,
        56,
    )
    assert (config.arcface_scale, config.arcface_margin, config.width) == (30.0, 0.5, 1.0)
    assert {"wo_fusion", "wo_stat", "no_checkerboard", "sf_only", "sp_only", "no_simsiam"} <= set(PRESETS)
    fields = {
        field.name
        for part in (EnsembleConfig, WeightedGaussians, PlanesConfig)
        for field in msgspec.structs.fields(part)
    }
    assert {option for preset in PRESETS.values() for option in preset} <= fields | {"length_s"}


def test_a_run_from_end_to_end_trains_once_for_all_scorers(tmp_path: Path) -> None:
    batches = dict.fromkeys(("pretrain_batch", "finetune_batch", "time_batch", "fusion_batch"), 8)
    small = SMALL | batches | {"n_mels": 16, "length_s": 0.5}
    options = {name: str(value) for name, value in small.items()}
    methods = [
        Selector("contrastive_ensemble", options),
        Selector("contrastive_ensemble", options | {"preset": "wo_stat"}),
        Selector("contrastive_ensemble", options | {"scorer": "negative_log_probability"}),
    ]
    request = tiny.request(tmp_path, *methods, cache=tmp_path / "cache")
    document = run(request, tiny.registry(), observer=tiny.Silent())
    outcomes = [(job.kind, job.status) for job in document.jobs]
    assert outcomes == [("fit", "ok"), ("score", "ok"), ("score", "ok"), ("score", "ok")]
    values = [averages["auc"] for averages in document.summary.values()]
    assert all(0 <= value <= 1 for value in values)
