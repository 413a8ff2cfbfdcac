"""The autoencoder of the DCASE baselines from 2023 on, with its selective Mahalanobis distance.

Harada et al., "First-shot anomaly sound detection for machine condition monitoring: A domain generalization
baseline", EUSIPCO 2023 (arXiv:2303.00455). Reconstruction errors are measured frame by frame against the covariance
of the training errors, once for the source and once for the target domain; the smaller distance counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Literal

import torch
from msgspec import Meta
from torch import Tensor, nn

from asdbench import DataError, Info, Items, ItemView, Trainer
from asdbench.dsp import FrameWindows
from asdbench_plugins.baselines.models import CLIPS, Autoencoder, AutoencoderConfig

LARGEST_REG = 1e6
TARGET = "target"


class SelectiveConfig(AutoencoderConfig, frozen=True, kw_only=True):
    """Options of the 2023 autoencoder; the defaults are that baseline's."""

    batch_size: Annotated[int, Meta(ge=2, description="windows per step")] = 256
    select: Annotated[
        Literal["window", "clip"],
        Meta(
            description="window: the smaller distance of each window, as in the paper; clip: the smaller distance of the "
            "clip's mean difference, as in the public code"
        ),
    ] = "window"
    reg: Annotated[float, Meta(gt=0, description="added to the variances, relative to their mean")] = 1e-6


class SelectiveAutoencoder(Autoencoder):
    """The autoencoder with the selective Mahalanobis distance in addition to the squared error.

    Outputs: ``reconstruction_error`` and ``mahalanobis`` ``[n, 1]``, ``embedding`` ``[n, 1, dims]``. The covariances
    are measured again for every checkpoint.
    """

    Config = SelectiveConfig
    whitening: Tensor

    def __init__(self, config: SelectiveConfig, info: Info) -> None:
        super().__init__(config, info)
        # Source, then target: [2, mels, mels]; W W^T is the inverse of the covariance.
        self.register_buffer("whitening", torch.eye(self.mels).repeat(2, 1, 1))
        self.apply(_initialise)

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Train like the autoencoder; covariances are measured at every checkpoint."""
        target = _is_target(train)
        if not 0 < int(target.sum()) < len(train):
            trainer.rule("one domain in training: its covariance stands for both")
        windows = train.info.feature_shape[1] - self.config.frames + 1
        for name, chosen in (("source", ~target), ("target", target)):
            frames = int(chosen.sum()) * windows * self.config.frames
            if 0 < frames <= self.mels:
                trainer.rule(f"covariance of the {name} domain from {frames} frames of {self.mels} mels")
        super().fit(train, held, trainer)
        # Without epochs no checkpoint triggers the measurement.
        if not self.config.epochs:
            self.eval()
            self.measure(train, self.windows(train))

    def validation(
        self, train: Items, windows: FrameWindows, *, held: FrameWindows | None
    ) -> Callable[[], float | None]:
        """Return a function that measures the covariances and returns the held-out error, if windows are held out."""

        def measured() -> float | None:
            self.measure(train, windows)
            return None if held is None else self.mean_error(held)

        return measured

    @torch.no_grad()
    def measure(self, train: Items, windows: FrameWindows) -> None:
        """Measure the covariance of each domain's differences; a domain without items takes the other's."""
        target = _is_target(train)
        by_clip = windows.view()
        for row, inside in enumerate((~target, target)):
            clips = (inside if inside.any() else torch.ones_like(inside)).nonzero()[:, 0].to(by_clip.device)
            covariance = self._covariance(by_clip[part] for part in torch.split(clips, CLIPS))
            self.whitening[row] = _whitening(covariance, self.config.reg)

    def outputs(self, items: ItemView) -> Mapping[str, Tensor]:
        """Return ``reconstruction_error`` and ``mahalanobis`` ``[n, 1]``, and ``embedding`` ``[n, 1, dims]``."""
        windows = FrameWindows(items.features(), frames=self.config.frames)
        difference, bottleneck = self.rebuild(windows.view())
        return {
            **self.summaries(difference, bottleneck),
            "mahalanobis": self._distance(difference.float()).unsqueeze(1),
        }

    def _distance(self, difference: Tensor) -> Tensor:
        """Return each clip's squared distance, per mel, from differences ``[n, windows, frames * mels]``."""
        frames = difference.view(*difference.shape[:2], self.config.frames, self.mels)
        if self.config.select == "clip":
            # The code averages over all pairs of frames, which is the distance of the clip's mean difference.
            frames = frames.mean(dim=(1, 2), keepdim=True)
        with torch.autocast(frames.device.type, enabled=False):
            # |d W|^2 = d C^-1 d^T for each domain; the smaller one counts, then the mean over windows.
            by_domain = [(frames @ whitening).square().mean(dim=(2, 3)) for whitening in self.whitening]
        smaller: Tensor = torch.minimum(*by_domain).mean(dim=1)  # over windows
        return smaller

    def _covariance(self, clips: Iterable[Tensor]) -> Tensor:
        """Return the covariance ``[mels, mels]``, float64, of single frames' differences.

        Args:
            clips: Windows of successive clips, ``[n, windows, frames, mels]`` each.
        """
        count = 0
        total = torch.zeros(self.mels, dtype=torch.float64, device=self.whitening.device)
        product = torch.zeros(self.mels, self.mels, dtype=torch.float64, device=self.whitening.device)
        for windows in clips:
            frames = self.rebuild(windows)[0].double().reshape(-1, self.mels)
            count += len(frames)
            total += frames.sum(dim=0)
            product += frames.T @ frames
        mean = total / count
        # Accumulated sums, because the frames of all clips may not fit in memory; float64 against cancellation.
        covariance: Tensor = (product - count * torch.outer(mean, mean)) / (count - 1)
        return covariance


def _is_target(items: Items) -> Tensor:
    domains = items.columns.get("domain")
    if domains is None:
        return torch.zeros(len(items), dtype=torch.bool)
    return torch.from_numpy(domains == TARGET)


def _whitening(covariance: Tensor, reg: float) -> Tensor:
    """Return W with ``W W^T`` the inverse of a covariance, which is regularised until it has one.

    Raises:
        DataError: The covariance is not finite.
    """
    # Relative to the mean variance, so that the scale of the features does not matter.
    size = covariance.diagonal().mean().clamp_min(1e-30)
    identity = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    while reg < LARGEST_REG:
        factor, failed = torch.linalg.cholesky_ex(covariance + reg * size * identity)
        if not failed:
            inverse: Tensor = torch.linalg.solve_triangular(factor, identity, upper=False)
            return inverse.T.float()
        reg *= 10
    raise DataError(
        "the training errors have no finite covariance: training may have diverged, try a smaller lr"
    )


def _initialise(module: nn.Module) -> None:
    # This baseline is written in torch and keeps torch's default for dense layers, not Keras's.
    if isinstance(module, nn.Linear):
        module.reset_parameters()
