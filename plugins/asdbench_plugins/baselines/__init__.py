"""The baselines: autoencoders, an ID classifier, flows, contrastive embeddings, and untrained statistics."""

from __future__ import annotations

from collections.abc import Iterable

from asdbench import Entry, Lazy, Method, hookimpl, lazy
from asdbench_plugins.baselines.methods import METHODS


@hookimpl
def asdbench_models() -> Iterable[Entry]:
    """Offer the networks and two untrained models."""
    return [
        _entry(
            "autoencoder",
            "models:Autoencoder",
            summary="dense autoencoder of 5-frame windows, 640-128x4-8-128x4-640",
            cites="koizumi2020dcase",
        ),
        _entry(
            "selective_autoencoder",
            "selective:SelectiveAutoencoder",
            summary="the same autoencoder with the selective Mahalanobis distance of two domains",
            cites="harada2023firstshot",
        ),
        _entry(
            "idnn",
            "models:Interpolator",
            summary="predicts the centre frame of a 5-frame window from its neighbours",
            cites="suefusa2020idnn",
        ),
        _entry(
            "patch_classifier",
            "classifier:PatchClassifier",
            summary="MobileNetV2 that classifies machine IDs from patches of 64 frames",
            cites="sandler2018mobilenetv2",
        ),
        _entry(
            "flow_density",
            "density:FlowDensity",
            summary="one Glow per machine ID, trained to make the other IDs unlikely",
            cites="dohi2021flow",
        ),
        _entry(
            "contrastive",
            "contrastive:Contrastive",
            summary="convolutional embedding that brings two views of a clip close together",
            cites="hojjati2022contrastive",
        ),
        _entry(
            "convolutional_autoencoder",
            "convolutional:ConvolutionalAutoencoder",
            summary="strided convolutions to a bottleneck and back, on patches of 32 frames",
        ),
        _entry(
            "statistics", "statistics:Statistics", summary="standardised statistics of features; no training"
        ),
        _entry(
            "two_branch",
            "two_branch:TwoBranch",
            summary="spectrum of the clip and spectrogram, sub-cluster AdaCos over classes of attributes",
            cites="wilkinghoff2023dcase",
        ),
        _entry(
            "frozen_encoder",
            "encoder:FrozenEncoder",
            summary="embeddings from an encoder in a TorchScript file",
        ),
    ]


@hookimpl
def asdbench_methods() -> Iterable[Method]:
    """Offer the baselines."""
    return METHODS


@hookimpl
def asdbench_printed() -> Iterable[Lazy]:
    """Offer the official scores of the challenge's own baselines, and of the direct discriminative one."""
    return [lazy("asdbench_plugins.baselines.official:printed")]


def _entry(name: str, path: str, *, summary: str, cites: str = "") -> Entry:
    return Entry(name=name, build=lazy(f"asdbench_plugins.baselines.{path}"), summary=summary, cites=cites)
