"""Checks of a featurizer by itself, on made items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from asdbench.conformance.findings import Checklist, NotApplicable, Unmet
from asdbench.conformance.items import make_items
from asdbench.conformance.options import options_are_described
from asdbench.conformance.outputs import ABSOLUTE, RELATIVE
from asdbench.conformance.tasks import FeaturizerTask
from asdbench.core.config import Config, config_of, configure
from asdbench.core.info import Info
from asdbench.detector.contracts import Featurizer
from asdbench.errors import ConfigError
from asdbench.plugin.entries import Lazy

ITEMS = 6


def check_featurizer(task: FeaturizerTask, checks: Checklist, *, folder: Path) -> None:
    """Run all checks of a featurizer."""
    built = Lazy(task.path).load()
    checks.run("options", lambda: options_are_described({"featurizer": config_of(built)}))
    config = configure(config_of(built), task.options, of=task.path)
    kept: list[tuple[Featurizer, Tensor]] = []

    def fits() -> str:
        found = _fitting(built, config, infos=task.infos)
        raw = _noise(found.info)
        items = make_items(raw, found.info, folder=folder / "pack", claim=[0] * len(raw))
        found.fit(items)
        kept.append((found, items.raw()))
        return f"fitted on {len(raw)} items {list(found.info.item_shape)}"

    checks.run("fits", fits)
    checks.run("shapes", lambda: features_have_a_row_for_each_item(*kept[0]), needs=("fits",))
    checks.run("finite", lambda: features_are_finite(*kept[0]), needs=("shapes",))
    checks.run("scoring", lambda: features_are_not_random(*kept[0]), needs=("shapes",))
    checks.run("batches", lambda: a_row_depends_on_its_item_alone(*kept[0]), needs=("scoring", "finite"))
    checks.run("saved", lambda: _reloaded(built, config, kept=kept[0]), needs=("scoring",))


def features_have_a_row_for_each_item(featurizer: Featurizer, raw: Tensor) -> str:
    """Check the type and the first axis of features."""
    features = _features(featurizer, raw)
    if not isinstance(features, Tensor) or not features.is_floating_point() or len(features) != len(raw):
        given = f"{features.dtype} {list(features.shape)}" if isinstance(features, Tensor) else type(features)
        raise Unmet(f"it gives {given} for {len(raw)} items", mend="return floats [items, ...]")
    return f"features {list(features.shape)}, {str(features.dtype).removeprefix('torch.')}"


def features_are_finite(featurizer: Featurizer, raw: Tensor) -> str:
    """Check features of noise and of silence."""
    for name, given in (("noise", raw), ("silence", torch.zeros_like(raw))):
        if not _features(featurizer, given).isfinite().all():
            raise Unmet(
                f"features of {name} are not finite",
                mend="guard logarithms and divisions with a small constant",
            )
    return "features of noise and of silence are finite"


def features_are_not_random(featurizer: Featurizer, raw: Tensor) -> str:
    """Check that features computed twice are equal."""
    if not torch.equal(*(_features(featurizer, raw).nan_to_num() for _ in range(2))):
        raise Unmet("features of the same items differ", mend="a featurizer must not be random")
    return "features computed twice are equal"


def a_row_depends_on_its_item_alone(featurizer: Featurizer, raw: Tensor) -> str:
    """Check that features of an item by itself are those in a batch."""
    together = _features(featurizer, raw)
    alone = torch.cat([_features(featurizer, raw[k : k + 1]) for k in range(len(raw))])
    apart = (alone - together).abs()
    if (apart > ABSOLUTE * (1 + together.std()) + RELATIVE * together.abs()).any():
        raise Unmet(
            f"features of single items differ by up to {apart.max():.3g}",
            mend="row i of the features must depend on row i of the input alone; learn statistics in fit",
        )
    return f"features of single items and of batches differ by at most {apart.max():.2g}"


def _reloaded(built: type[Featurizer], config: Config, *, kept: tuple[Featurizer, Tensor]) -> str:
    featurizer, raw = kept
    again = built(config, featurizer.info)
    again.load_state_dict(featurizer.state_dict())
    if not torch.equal(_features(featurizer, raw).nan_to_num(), _features(again, raw).nan_to_num()):
        raise Unmet("features differ after saving and loading", mend="keep what fit learns in buffers")
    return "features are equal after saving and loading"


def _fitting(built: type[Featurizer], config: Config, *, infos: list[Info]) -> Featurizer:
    misfits = []
    for info in infos:
        try:
            found = built(config, info)
            with torch.no_grad():
                found(torch.zeros(1, *info.item_shape))
        except ConfigError as error:
            misfits.append(str(error))
        else:
            return found
    raise NotApplicable(f"it fits the items of no generated dataset: {'; '.join(misfits)}")


def _features(featurizer: Featurizer, raw: Tensor) -> Tensor:
    with torch.no_grad():
        features: Tensor = featurizer(raw)
    return features


def _noise(info: Info) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return (0.1 * np.random.default_rng(0).normal(size=(ITEMS, *info.item_shape))).astype(np.float32)
