"""The baselines: autoencoders, an ID classifier, flows, contrastive embeddings, and statistics without training."""

from __future__ import annotations

from collections.abc import Iterable

from asdbench.hookspecs import hookimpl
from asdbench.values import Entry, Method, lazy
from asdbench_plugins.baselines.methods import METHODS


@hookimpl
def asdbench_models() -> Iterable[Entry]:
    """Offer the networks, and two models that are not trained."""
    return [
        _entry(
            "autoencoder",
            "models:Autoencoder",
            "dense autoencoder of 5-frame windows, 640-128x4-8-128x4-640",
            cites="koizumi2020dcase",
        ),
        _entry(
            "selective_autoencoder",
            "selective:SelectiveAutoencoder",
            "the same with the selective Mahalanobis distance of two domains",
            cites="harada2023firstshot",
        ),
        _entry(
            "idnn",
            "models:Interpolator",
            "predicts the centre frame of a 5-frame window from its neighbours",
            cites="suefusa2020idnn",
        ),
        _entry(
            "patch_classifier",
            "classifier:PatchClassifier",
            "MobileNetV2 that tells machine IDs from patches of 64 frames",
            cites="sandler2018mobilenetv2",
        ),
        _entry(
            "flow_density",
            "density:FlowDensity",
            "a Glow a machine ID, for which the other IDs are unlikely",
            cites="dohi2021flow",
        ),
        _entry(
            "contrastive",
            "contrastive:Contrastive",
            "convolutions in whose output two views of a clip lie close",
            cites="hojjati2022contrastive",
        ),
        _entry(
            "convolutional_autoencoder",
            "convolutional:ConvolutionalAutoencoder",
            "strided convolutions to a bottleneck and back, on patches of 32 frames",
        ),
        _entry(
            "statistics", "statistics:Statistics", "standardised statistics of features; nothing is trained"
        ),
        _entry(
            "frozen_encoder", "encoder:FrozenEncoder", "embeddings by an encoder given as a TorchScript file"
        ),
    ]


@hookimpl
def asdbench_methods() -> Iterable[Method]:
    """Offer the baselines."""
    return METHODS


def _entry(name: str, path: str, summary: str, *, cites: str = "") -> Entry:
    return Entry(name=name, build=lazy(f"asdbench_plugins.baselines.{path}"), summary=summary, cites=cites)
