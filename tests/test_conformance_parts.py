"""Checks of scorers, featurizers and datasets by themselves, each failed by a part made for it; and of two devices."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from bad_plugins import Standardising
from msgspec.structs import replace
from numpy.typing import NDArray
from torch import Tensor

from asdbench import (
    Config,
    ConfigError,
    Featurizer,
    Info,
    ItemContext,
    Outputs,
    Scorer,
    Selector,
    State,
    config_of,
    load_registry,
)
from asdbench.conformance import datasets, featurizers, outputs, scorers
from asdbench.conformance.check import conformance
from asdbench.conformance.findings import Checklist, NotApplicable, Unmet
from asdbench.conformance.options import options_are_described
from asdbench.conformance.watching import Globals

RAW = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32))
INFO = Info(item_shape=(64,), sample_rate=64)


class Near(Scorer, frozen=True):
    """The distance from the training mean; its faults are chosen by class attributes."""

    on: str = "embedding"
    sign: ClassVar[float] = 1.0
    noise: ClassVar[float] = 0.0
    least: ClassVar[int] = 1
    claims: ClassVar[bool] = False
    state: ClassVar[Any] = None

    @property
    def needs_claims(self) -> bool:
        """Whether it says that it refuses unknown classes."""
        return self.claims

    def fit(self, outputs: Outputs, context: ItemContext) -> State:
        """Learn the mean."""
        if self.state is not None:
            return {"mean": self.state}
        mean = outputs[self.on].mean(axis=(0, 1))
        few = len(context.claim) < self.least
        return {"mean": mean * np.nan if few else mean + self.noise * np.random.default_rng().normal()}

    def score(self, state: State, outputs: Outputs, context: ItemContext) -> NDArray[np.float64]:
        """Return the distances ``[n, segments]``."""
        return self.sign * np.linalg.norm(outputs[self.on] - state["mean"], axis=2)


class Inverted(Near, frozen=True):
    """Gives what is far the lower score."""

    sign = -1.0


class Noisy(Near, frozen=True):
    """Draws numbers that nobody seeds."""

    noise = 1e-3


class Hungry(Near, frozen=True):
    """Needs ten items."""

    least = 10


class Claiming(Near, frozen=True):
    """Says that it refuses unknown classes, and scores them."""

    claims = True


class Textual(Near, frozen=True):
    """Learns text."""

    state = "mean"


class Flat(Near, frozen=True):
    """Forgets the segments."""

    def score(self, state: State, outputs: Outputs, context: ItemContext) -> NDArray[np.float64]:
        """Return ``[n]``."""
        return super().score(state, outputs, context).mean(axis=1)


Check = Callable[[Scorer, scorers.MakeOutputs], str]


@pytest.mark.parametrize(
    ("scorer", "check", "saw"),
    [
        (Textual(), scorers.state_is_arrays, "its state holds 'mean': str"),
        (Flat(), scorers.shapes_of_scores, r"scores of 9 items are \[9\]"),
        (Noisy(), scorers.fitting_again_gives_the_same, "it gives other scores, by up to"),
        (Standardising(), scorers.score_depends_on_its_item_alone, "scores change by up to .* in a set of 3"),
        (Inverted(), scorers.far_is_stranger, "higher in 0% of the pairs"),
        (Hungry(), scorers.classes_of_one_item_are_scored, "one training item of each class, scores are not"),
        (
            Claiming(),
            scorers.unknown_classes_are_scored_or_refused,
            "needs_claims is True, and yet it scores",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Scorer) else "",
)
def test_a_scorer_fails_the_check_of_the_promise_that_it_breaks(
    scorer: Scorer, check: Check, saw: str
) -> None:
    with pytest.raises(Unmet, match=saw):
        check(scorer, scorers.random_outputs)
    if isinstance(scorer, Near):
        assert check(Near(), scorers.random_outputs)


class Silent(Featurizer):
    """Logarithms without a floor."""

    def forward(self, raw: Tensor) -> Tensor:
        """Return them."""
        return raw.abs().log()


class Centred(Featurizer):
    """Less the mean of the batch."""

    def forward(self, raw: Tensor) -> Tensor:
        """Return the rest."""
        return raw - raw.mean(dim=0)


class Random(Featurizer):
    """Noise."""

    def forward(self, raw: Tensor) -> Tensor:
        """Return it."""
        return raw + torch.rand_like(raw)


class Joined(Featurizer):
    """All items in one row."""

    def forward(self, raw: Tensor) -> Tensor:
        """Return it."""
        return raw.reshape(1, -1)


@pytest.mark.parametrize(
    ("built", "check", "saw"),
    [
        (Silent, featurizers.features_are_finite, "features of silence are not finite"),
        (Centred, featurizers.a_row_depends_on_its_item_alone, "features of single items differ by up to"),
        (Random, featurizers.features_are_not_random, "features of the same items differ"),
        (Joined, featurizers.features_have_a_row_for_each_item, r"it gives torch.float32 \[1, 256\] for 4"),
    ],
)
def test_a_featurizer_fails_the_check_of_the_promise_that_it_breaks(
    built: type[Featurizer], check: Callable[[Featurizer, Tensor], str], saw: str
) -> None:
    with pytest.raises(Unmet, match=saw):
        check(built(Config(), INFO), RAW)


def test_a_card_fails_the_check_of_the_promise_that_it_breaks() -> None:
    card = load_registry().build("dataset", "synthetic")().card
    with pytest.raises(Unmet, match="its card has no licence"):
        datasets.names_licence_and_source(replace(card, licence=""))
    with pytest.raises(Unmet, match="unknown column 'motor'"):
        datasets.columns_are_declared(replace(card, claims=("motor",)))
    with pytest.raises(Unmet, match="its card has no scope 'all'"):
        datasets.columns_are_declared(replace(card, scopes={}))
    with pytest.raises(Unmet, match="unknown metric set 'dcase'"):
        datasets.metric_set_exists(replace(card, metrics="dcase"), ["dcase2020"])
    with pytest.raises(Unmet, match="object is no dataset"):
        datasets.keeps_the_protocol(object())


def test_options_need_a_type_and_a_description() -> None:
    class Options(Config, frozen=True):
        anything: Any = None

    with pytest.raises(Unmet, match="model option 'anything' has no description"):
        options_are_described({"model": Options})
    assert options_are_described({"scorer": config_of(load_registry().build("scorer", "knn"))})


def test_scores_of_two_devices_may_differ_by_rounding_alone() -> None:
    scores = np.linspace(1, 2, 16)
    assert "at most 1e-05" in outputs.devices_agree(scores, scores + 1e-5)
    with pytest.raises(Unmet, match=r"a score differs by 0.1 between CPU and CUDA"):
        outputs.devices_agree(scores, scores + 0.1)


def test_global_settings_are_put_back_and_named() -> None:
    before = Globals()
    np.random.seed(3)
    torch.set_default_dtype(torch.float64)
    before.restore()
    assert torch.get_default_dtype() == torch.float32
    with pytest.raises(Unmet, match=r"it changed torch's default dtype .*, numpy's random state"):
        before.unchanged()
    assert Globals().unchanged()


def test_what_needs_a_check_that_failed_is_not_checked_and_a_refused_access_fails_no_check() -> None:
    def unmet() -> str:
        raise Unmet("bad", mend="better")

    def inapplicable() -> str:
        raise NotApplicable("nothing to see")

    def refused() -> str:
        raise PermissionError("no")

    checks = Checklist(lambda error: isinstance(error, PermissionError))
    for name, check, needs in (
        ("one", unmet, ()), ("two", lambda: "good", ("one",)), ("three", inapplicable, ()),
        ("four", lambda: "good", ("three",)), ("five", refused, ()), ("six", lambda: "good", ("five",)),
    ):  # fmt: skip
        checks.run(name, check, needs=needs)
    assert [(one.outcome, one.saw) for one in checks.findings] == [
        ("failed", "bad"),
        ("skipped", "not checked, because of 'one'"),
        ("skipped", "nothing to see"),
        ("passed", "good"),
        ("skipped", "stopped by a refused access: no"),
        ("skipped", "not checked, because of 'five'"),
    ]


SHIPPED = load_registry()


@pytest.mark.parametrize(
    ("kind", "name"),
    [("featurizer", "logmel"), ("featurizer", "minmax"), ("dataset", "synthetic"), ("scorer", "ocsvm")],
)
def test_shipped_parts_conform(kind: Any, name: str) -> None:
    report = conformance(SHIPPED, Selector(name), kind=kind)
    assert report.failed == []
    assert [one.check for one in report.findings if one.outcome == "passed"][:2] == ["options", "fits"]


def test_a_method_without_an_option_that_it_requires_is_refused() -> None:
    with pytest.raises(ConfigError, match="encoder_knn needs encoder: give the path"):
        conformance(SHIPPED, Selector("encoder_knn"))


@pytest.mark.slow  # minutes: each method is trained four times
@pytest.mark.parametrize(
    "name", sorted(name for name in SHIPPED.names("method") if not SHIPPED.method(name).requires)
)
def test_every_shipped_method_conforms(name: str) -> None:
    assert conformance(SHIPPED, Selector(name)).failed == []


def test_the_method_with_an_encoder_of_the_users_conforms(tmp_path: Path) -> None:
    class Encoder(torch.nn.Module):
        def forward(self, waves: Tensor) -> Tensor:
            return waves.unfold(1, 400, 400).square().mean(dim=2).add(1e-6).log()

    file = tmp_path / "encoder.pt"
    with warnings.catch_warnings():  # TorchScript is deprecated, and still what an encoder is given as
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.trace(Encoder(), torch.zeros(2, 32000)), str(file))  # type: ignore[no-untyped-call]
    assert conformance(SHIPPED, Selector("encoder_knn", {"encoder": str(file)})).failed == []
