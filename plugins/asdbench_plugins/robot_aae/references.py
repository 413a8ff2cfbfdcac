"""References without gradient training: principal components and an isolation forest of whole windows.

What they learn is stored in buffers with shapes given by the options, so a checkpoint needs no pickle.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import torch
from msgspec import Meta
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from torch import Tensor

from asdbench import Config, DataError, Info, Items, ItemView, Model, Trainer, seed_for

BATCH = 256
EULER_GAMMA = 0.5772156649015329


class WindowPcaConfig(Config, frozen=True, kw_only=True):
    """Options of the principal component analysis."""

    components: Annotated[
        int, Meta(ge=1, description="principal components used to reconstruct a window")
    ] = 30
    draw_seed: Annotated[
        int, Meta(ge=0, description="seed of the randomised decomposition of large sets")
    ] = 0


class WindowPca(Model):
    """Windows reconstructed from their principal components, all rows and columns together.

    Outputs: ``reconstruction_error`` ``[n, 1]``, the mean squared error, and ``embedding`` ``[n, 1, components]``.
    """

    Config = WindowPcaConfig
    centre: Tensor
    components: Tensor

    def __init__(self, config: WindowPcaConfig, info: Info) -> None:
        super().__init__(config, info)
        size = math.prod(info.feature_shape)
        self.register_buffer("centre", torch.zeros(size))
        self.register_buffer("components", torch.zeros(config.components, size))

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Decompose the training windows; few windows give fewer components.

        Raises:
            DataError: There are fewer than two training windows.
        """
        windows = _flat(train)
        if len(windows) < 2:
            raise DataError(f"principal components need at least 2 training windows, found {len(windows)}")
        # Centred windows span at most one dimension less than their number.
        count = min(self.config.components, len(windows) - 1, windows.shape[1])
        if count < self.config.components:
            trainer.rule(f"{count} principal components instead of {self.config.components}: too few windows")
        # scikit-learn takes seeds of 32 bits.
        state = seed_for(trainer.settings.seed, "components", self.config.draw_seed) % 2**32
        found = PCA(n_components=count, random_state=state).fit(windows)
        self.centre.copy_(torch.from_numpy(found.mean_))
        self.components.zero_()
        self.components[:count] = torch.from_numpy(found.components_).to(self.components)

    def outputs(self, items: ItemView) -> Mapping[str, Tensor]:
        """Return ``reconstruction_error`` ``[n, 1]`` and ``embedding`` ``[n, 1, components]``."""
        centred = items.features().flatten(1) - self.centre
        code = centred @ self.components.T
        error = (centred - code @ self.components).square().mean(dim=1, keepdim=True)
        return {"reconstruction_error": error, "embedding": code.unsqueeze(1)}


class WindowForestConfig(Config, frozen=True, kw_only=True):
    """Options of the isolation forest; the defaults are scikit-learn's."""

    trees: Annotated[int, Meta(ge=1, description="trees of the forest")] = 100
    samples: Annotated[int, Meta(ge=2, description="training windows per tree")] = 256
    draw_seed: Annotated[int, Meta(ge=0, description="seed of the trees")] = 0


class WindowForest(Model):
    """Isolation forest: windows that random cuts isolate after few steps are anomalous.

    scikit-learn grows the trees; they are stored as flat arrays, and the score is its ``-score_samples``.

    Outputs: ``isolation`` ``[n, 1]``, between 0 and 1.
    """

    Config = WindowForestConfig
    feature: Tensor
    threshold: Tensor
    left: Tensor
    right: Tensor
    depth: Tensor
    expected: Tensor

    def __init__(self, config: WindowForestConfig, info: Info) -> None:
        super().__init__(config, info)
        nodes = 2 * config.samples - 1  # of a binary tree with one leaf per sample
        self.levels = max(1, math.ceil(math.log2(config.samples)))
        """Maximum depth of a tree in scikit-learn."""
        for name in ("feature", "left", "right"):
            self.register_buffer(name, torch.zeros(config.trees, nodes, dtype=torch.int64))
        for name in ("threshold", "depth"):
            self.register_buffer(name, torch.zeros(config.trees, nodes, dtype=torch.float64))
        self.register_buffer("expected", torch.ones((), dtype=torch.float64))

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Grow the trees; with fewer windows than ``samples``, each tree uses all of them.

        Raises:
            DataError: There are fewer than two training windows.
        """
        windows = _flat(train)
        if len(windows) < 2:
            raise DataError(f"an isolation forest needs at least 2 training windows, found {len(windows)}")
        samples = min(self.config.samples, len(windows))
        if samples < self.config.samples:
            trainer.rule(f"each tree is grown on all {samples} windows instead of {self.config.samples}")
        state = seed_for(trainer.settings.seed, "forest", self.config.draw_seed) % 2**32
        forest = IsolationForest(n_estimators=self.config.trees, max_samples=samples, random_state=state).fit(
            windows
        )
        for number, estimator in enumerate(forest.estimators_):
            self._keep(number, estimator.tree_)
        self.expected.fill_(float(expected_depth(np.array([samples]))[0]))

    def outputs(self, items: ItemView) -> Mapping[str, Tensor]:
        """Return ``isolation`` ``[n, 1]``: ``2^(-mean depth / expected depth)`` (Liu et al., 2008, eq. 2)."""
        windows = items.features().flatten(1)
        node = torch.zeros(len(windows), len(self.feature), dtype=torch.int64, device=windows.device)
        tree = torch.arange(len(self.feature), device=windows.device)
        # Leaves point to themselves, so every window can take the same number of steps.
        for _ in range(self.levels):
            value = windows.gather(1, self.feature[tree, node])
            # In float64, as scikit-learn compares: thresholds rounded to float32 would send ties the other way.
            below = value.double() <= self.threshold[tree, node]
            node = torch.where(below, self.left[tree, node], self.right[tree, node])
        depth = self.depth[tree, node].mean(dim=1, keepdim=True)
        return {"isolation": torch.exp2(-depth / self.expected)}

    def _keep(self, number: int, tree: Any) -> None:
        """Store one tree; a leaf points to itself and holds the depth of a window that ends there."""
        count = tree.node_count
        own = np.arange(count)
        leaf = tree.children_left < 0
        self._write(self.feature, number, values=np.where(leaf, 0, tree.feature))
        self._write(self.threshold, number, values=tree.threshold)
        self._write(self.left, number, values=np.where(leaf, own, tree.children_left))
        self._write(self.right, number, values=np.where(leaf, own, tree.children_right))
        # A leaf with several windows counts as deep as the tree that would separate them.
        self._write(self.depth, number, values=_depths(tree) + expected_depth(tree.n_node_samples))

    @staticmethod
    def _write(buffer: Tensor, number: int, *, values: NDArray[Any]) -> None:
        buffer[number].zero_()
        buffer[number, : len(values)] = torch.from_numpy(np.asarray(values)).to(buffer)


def expected_depth(windows: NDArray[Any]) -> NDArray[np.float64]:
    """Return the average path length of a random tree of this many windows (Liu et al., 2008, eq. 1)."""
    count = np.asarray(windows, dtype=np.float64)
    many = np.maximum(count, 3)
    depth = 2 * (np.log(many - 1) + EULER_GAMMA) - 2 * (many - 1) / many
    # c(n) = 2 H(n - 1) - 2 (n - 1) / n with H(i) = ln i + Euler's gamma; c(2) = 1, c(1) = 0.
    return np.where(count > 2, depth, np.where(count == 2, 1.0, 0.0))


def _depths(tree: Any) -> NDArray[np.float64]:
    depths = np.zeros(tree.node_count)
    for node in range(tree.node_count):  # a child's number is larger than its parent's
        if tree.children_left[node] >= 0:
            depths[[tree.children_left[node], tree.children_right[node]]] = depths[node] + 1
    return depths


def _flat(items: Items) -> NDArray[np.float32]:
    pieces = [batch.features().flatten(1).cpu().numpy() for batch in items.batches(BATCH)]
    return np.concatenate(pieces) if pieces else np.zeros((0, 1), dtype=np.float32)
