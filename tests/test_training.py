"""The Trainer: schedules, seeds, checkpoints, and the same bits after a kill at any step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asdbench import RunError, Stage, Trainer
from asdbench.detector.resume import Place
from asdbench.detector.trainer import TrainerSettings, _Unread
from asdbench.detector.weights import load_file, save_file
from asdbench.recipes.recipe import Compiling


class Killed(BaseException):
    """Stands for a signal that ends the process."""


class Pair(nn.Module):
    """Two small networks with batch norm and dropout, as a generator and its opponent."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 3))
        self.second = nn.Linear(3, 1)


def fit(
    folder: Path, *, die_at: int | None = None, epochs: int = 3, resume_every_s: float = 0.0
) -> tuple[Pair, Trainer]:
    """Train in two stages, two optimizers in the second; ``die_at`` counts steps over both stages."""
    pair = Pair()
    trainer = Trainer(pair, TrainerSettings(seed=3, folder=folder, resume_every_s=resume_every_s))
    data = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    count = 0

    def batches(generator: torch.Generator) -> Iterator[Tensor]:
        order = torch.randperm(10, generator=generator)
        yield from (data[order[k : k + 4]] for k in range(0, 8, 4))

    def tick() -> None:
        nonlocal count
        count += 1
        if count == die_at:
            raise Killed

    def alone(batch: Tensor, step: int) -> Iterator[tuple[str, Tensor]]:
        tick()
        yield "first", F.mse_loss(pair.first(batch), batch)

    def against(batch: Tensor, step: int) -> Iterator[tuple[str, Tensor]]:
        yield "second", pair.second(pair.first(batch).detach()).square().mean()
        tick()
        yield "first", F.mse_loss(pair.first(batch), batch) + 0.1 * pair.second(pair.first(batch)).mean()

    optimizers = {
        "first": torch.optim.Adam(pair.first.parameters(), lr=0.01),
        "second": torch.optim.SGD(pair.second.parameters(), lr=0.1, momentum=0.9),
    }
    for name, losses in (("alone", alone), ("against", against)):
        chosen = optimizers if name == "against" else {"first": optimizers["first"]}
        trainer.run(
            Stage(
                name=name, module=pair, optimizers=chosen, epochs=epochs, batches=batches, losses=losses, every=2,
                factor=lambda epoch, step: 1 / (1 + step), validate=lambda: float(pair.second(data).sum()), steps=2,
            )
        )  # fmt: skip
    return pair, trainer


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(
        torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )


def test_the_same_seed_gives_the_same_bits(tmp_path: Path) -> None:
    assert same(fit(tmp_path / "a")[0], fit(tmp_path / "b")[0])


@pytest.mark.parametrize("die_at", range(1, 13))
def test_a_fit_killed_at_any_step_ends_with_the_same_bits(die_at: int, tmp_path: Path) -> None:
    whole, trainer = fit(tmp_path / "whole")
    with pytest.raises(Killed):
        fit(tmp_path / "killed", die_at=die_at)
    resumed, again = fit(tmp_path / "killed")
    assert same(whole, resumed)
    losses = [(entry.stage, entry.epoch, entry.losses, entry.validation) for entry in trainer.log]
    assert losses == [(entry.stage, entry.epoch, entry.losses, entry.validation) for entry in again.log]
    for epoch in (2, 3):
        kept = [load_file(side.checkpoint_file("against", epoch))[0] for side in (trainer, again)]
        assert all(torch.equal(kept[0][name], kept[1][name]) for name in kept[0])


def test_a_fit_killed_again_and_again_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole, _ = fit(tmp_path / "whole")
    for _ in range(11):
        with pytest.raises(Killed):
            fit(tmp_path / "killed", die_at=2)  # each try gets one step further
    assert same(whole, fit(tmp_path / "killed")[0])


def test_a_fit_that_saves_rarely_starts_from_its_last_save(tmp_path: Path) -> None:
    whole, _ = fit(tmp_path / "whole")
    with pytest.raises(Killed):
        fit(tmp_path / "killed", die_at=9, resume_every_s=3600)
    assert same(whole, fit(tmp_path / "killed")[0])


@pytest.mark.parametrize("factor", [2, 2.0, lambda epoch, step: 2])
def test_a_learning_rate_factor_is_a_number_or_a_function(factor: Any, tmp_path: Path) -> None:
    layer = nn.Linear(1, 1)
    before = layer.bias.item()

    def losses(batch: Tensor, step: int) -> Iterator[tuple[str, Tensor]]:
        yield "sgd", layer(batch).sum()

    stage = Stage(
        name="only", module=layer, optimizers={"sgd": torch.optim.SGD(layer.parameters(), lr=0.25)}, epochs=1,
        batches=lambda generator: [torch.zeros(1, 1)], losses=losses, factor=factor,
    )  # fmt: skip
    Trainer(layer, TrainerSettings(seed=1, folder=tmp_path)).run(stage)
    assert layer.bias.item() == pytest.approx(before - 0.5)


@pytest.mark.parametrize(
    ("compiling", "wanted", "marks"),
    [(False, [], 0), (True, [{}], 0), ("graphs", [{"mode": "reduce-overhead", "dynamic": False}], 3)],
)
def test_a_module_is_compiled_as_the_user_wants(
    compiling: Compiling,
    wanted: list[dict[str, Any]],
    marks: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[dict[str, Any]] = []
    marked: list[None] = []

    def compiled(module: nn.Module, **options: Any) -> nn.Module:
        asked.append(options)
        return module

    monkeypatch.setattr(torch, "compile", compiled)
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: marked.append(None))
    layer = nn.Linear(1, 1)
    trainer = Trainer(layer, TrainerSettings(seed=1, folder=tmp_path, compile=compiling))
    forward = trainer.accelerate(layer)

    def losses(batch: Tensor, step: int) -> Iterator[tuple[str, Tensor]]:
        yield "sgd", forward(batch).sum()

    stage = Stage(
        name="only", module=layer, optimizers={"sgd": torch.optim.SGD(layer.parameters(), lr=0.25)}, epochs=1,
        batches=lambda generator: [torch.zeros(1, 1)] * 3, losses=losses,
    )  # fmt: skip
    trainer.run(stage)
    assert (asked, len(marked)) == (wanted, marks)


def test_parts_that_a_stage_does_not_train_stay_as_they_are(tmp_path: Path) -> None:
    def train(folder: Path, *, die_at: int | None = None) -> nn.Module:
        torch.manual_seed(0)
        root = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1))
        data = torch.randn(8, 3)
        count = 0

        def losses(batch: Tensor, step: int) -> Iterator[tuple[str, Tensor]]:
            nonlocal count
            count += 1
            if count == die_at:
                raise Killed
            yield "sgd", root(batch).square().mean()

        Trainer(root, TrainerSettings(seed=0, folder=folder, resume_every_s=0.0)).run(
            Stage(
                name="head", module=root[1], optimizers={"sgd": torch.optim.SGD(root[1].parameters(), lr=0.1)},
                epochs=4, batches=lambda generator: data.split(4), losses=losses, every=2, validate=lambda: 0.0,
            )
        )  # fmt: skip
        return root

    whole = train(tmp_path / "whole")
    assert int(whole.state_dict()["0.num_batches_tracked"]) == 0
    with pytest.raises(Killed):
        train(tmp_path / "killed", die_at=6)
    assert same(whole, train(tmp_path / "killed"))


def test_another_seed_does_not_resume(tmp_path: Path) -> None:
    fit(tmp_path)
    with pytest.raises(RunError, match="is of seed 3, this fit has seed 4"):
        Trainer(Pair(), TrainerSettings(seed=4, folder=tmp_path))


def test_a_damaged_resume_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "resume.safetensors").write_bytes(b"no weights")
    with pytest.raises(RunError, match=r"damaged or not a weight file.*delete it to start over"):
        Trainer(Pair(), TrainerSettings(seed=3, folder=tmp_path))


def test_a_resume_file_with_a_damaged_note_or_of_another_model_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "resume.safetensors"
    save_file({}, file, note="{")
    with pytest.raises(RunError, match=r"is damaged: Input data was truncated; delete it to start over"):
        Trainer(Pair(), TrainerSettings(seed=3, folder=tmp_path))
    save_file({"root/other": torch.ones(1)}, file, note='{"seed": 3}')
    with pytest.raises(RunError, match=r"is of another model: .*other.*; delete it to start over"):
        Trainer(Pair(), TrainerSettings(seed=3, folder=tmp_path))


def test_a_loss_that_is_not_finite_ends_the_fit(tmp_path: Path) -> None:
    module = nn.Linear(1, 1)
    trainer = Trainer(module, TrainerSettings(seed=0, folder=tmp_path))

    def losses(batch: Tensor, step: int) -> Iterator[tuple[str, Tensor]]:
        yield "sgd", module(batch).sum() / 0.0

    stage = Stage(
        name="train", module=module, optimizers={"sgd": torch.optim.SGD(module.parameters(), lr=1.0)}, epochs=1,
        batches=lambda generator: [torch.ones(1, 1)], losses=losses,
    )  # fmt: skip
    with pytest.raises(RunError, match=r"the sgd loss became -?inf in stage 'train', epoch 1, step 1"):
        trainer.run(stage)


def test_losses_that_are_read_back_late_are_the_same_and_a_nan_names_its_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, at_once = fit(tmp_path / "at_once", resume_every_s=60.0)
    module = nn.Linear(1, 1)
    reads: list[int] = []

    class Late(_Unread):
        def __init__(self, *, read_every: int) -> None:
            assert read_every == 1  # on the CPU nothing is gained by waiting
            super().__init__(read_every=3)

        def read(self, place: Place) -> None:
            reads.append(len(self._waiting))
            super().read(place)

    monkeypatch.setattr("asdbench.detector.trainer._Unread", Late)
    monkeypatch.setattr(TrainerSettings, "report_every_s", 60.0)
    _, late = fit(tmp_path / "late", resume_every_s=60.0)
    assert max(reads) == 3
    assert [(entry.epoch, entry.losses) for entry in late.log] == [
        (entry.epoch, entry.losses) for entry in at_once.log
    ]

    def losses(batch: Tensor, step: int) -> Iterator[tuple[str, Tensor]]:
        yield "sgd", module(batch).sum() / float(step != 1)

    stage = Stage(
        name="train", module=module, optimizers={"sgd": torch.optim.SGD(module.parameters(), lr=0.0)}, epochs=1,
        batches=lambda generator: [torch.ones(1, 1)] * 5, losses=losses,
    )  # fmt: skip
    trainer = Trainer(module, TrainerSettings(seed=0, folder=tmp_path / "nan"))
    with pytest.raises(RunError, match=r"the sgd loss became (-?inf|nan) in stage 'train', epoch 1, step 2;"):
        trainer.run(stage)


def test_a_value_that_is_not_finite_ends_the_fit(tmp_path: Path) -> None:
    module = nn.Linear(1, 1)
    trainer = Trainer(module, TrainerSettings(seed=0, folder=tmp_path))
    with pytest.raises(RunError, match=r"accuracy became nan in stage '', epoch 1, step 1;"):
        trainer.log_value("accuracy", torch.tensor(torch.nan))


def test_an_epoch_without_a_batch_is_an_error(tmp_path: Path) -> None:
    module = nn.Linear(1, 1)
    stage = Stage(
        name="train", module=module, optimizers={}, epochs=1, batches=lambda generator: [],
        losses=lambda batch, step: iter(()),
    )  # fmt: skip
    with pytest.raises(RunError, match="got no batch in epoch 1: too few items"):
        Trainer(module, TrainerSettings(seed=0, folder=tmp_path)).run(stage)


def test_the_learning_rate_follows_the_factor(tmp_path: Path) -> None:
    module = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(module.parameters(), lr=2.0)
    rates: list[float] = []

    def losses(batch: Tensor, step: int) -> Iterator[tuple[str, Tensor]]:
        rates.append(optimizer.param_groups[0]["lr"])
        yield "sgd", module(batch).sum() * 0

    Trainer(module, TrainerSettings(seed=0, folder=tmp_path)).run(
        Stage(
            name="train", module=module, optimizers={"sgd": optimizer}, epochs=2, losses=losses,
            batches=lambda generator: [torch.ones(1, 1)] * 2, factor=lambda epoch, step: 10.0**-epoch + step,
        )
    )  # fmt: skip
    assert rates == pytest.approx([2.0, 4.0, 2 * 2.1, 2 * 3.1])


def test_a_state_in_another_memory_layout_resumes_with_the_same_bits(tmp_path: Path) -> None:
    def train(folder: Path, epochs: int) -> nn.Module:
        torch.manual_seed(0)
        module = nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = torch.randn(6, 3, 9, 9, generator=torch.Generator().manual_seed(1))

        def losses(batch: Tensor, step: int) -> Iterator[tuple[str, Tensor]]:
            yield "adam", module(batch).square().mean()

        Trainer(module, TrainerSettings(seed=0, folder=folder, resume_every_s=0.0)).run(
            Stage(
                name="train", module=module, optimizers={"adam": torch.optim.Adam(module.parameters())},
                epochs=epochs, batches=lambda generator: images.split(2), losses=losses,
            )
        )  # fmt: skip
        return module

    whole = train(tmp_path / "whole", 6)
    with pytest.raises(Killed):
        _killing(lambda: train(tmp_path / "killed", 6), after=8)
    assert same(whole, train(tmp_path / "killed", 6))


def _killing(fit_it: object, *, after: int) -> None:
    """Call ``fit_it`` and end it at its ``after``-th optimizer step."""
    step = torch.optim.Adam.step
    count = 0

    def counted(self: torch.optim.Adam, closure: None = None) -> None:
        nonlocal count
        count += 1
        if count == after:
            raise Killed
        step(self, closure)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", counted)
        fit_it()  # type: ignore[operator]
