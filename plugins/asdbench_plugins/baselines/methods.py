"""The baselines as methods: their parts, options and small budgets for synthetic data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asdbench import Method, Setting
from asdbench_plugins.baselines.direct import TWO_BRANCH
from asdbench_plugins.baselines.official import OFFICIAL
from asdbench_plugins.baselines.space import (
    AUTOENCODER,
    CLASSIFIER,
    FLOW,
    SPECTRUM,
    STANDARDISED,
    WINDOWS,
)
from asdbench_plugins.baselines.space import (
    BACKENDS as SPACES,
)
from asdbench_plugins.baselines.space import (
    NEAREST as OF_NEAREST,
)
from asdbench_plugins.baselines.untrained import UNTRAINED

BASELINE_FEATURES = {"mel_scale": "slaney", "mel_norm": "slaney", "floor": 2.220446049250313e-16}
"""librosa's mel spectrogram with the DCASE baselines' arguments; the floor is the epsilon that they add."""
EPOCHS = {"epochs": 30, "checkpoint_every": 10}
NEAREST: Mapping[str, Any] = {"scorer.k": 2, "scorer.metric": "euclidean"}
MIXTURE: Mapping[str, Any] = {"scorer.components": 2, "scorer.normalize": False}
BACKENDS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "knn": ("distance to the 2 nearest neighbours", NEAREST),
    "gmm": ("mixture of two Gaussians", MIXTURE),
    "mahalanobis": ("Mahalanobis distance", {}),
    "lof": ("local outlier factor", {}),
}
"""Title and options of each scorer that follows the statistics."""


def _reduced(**options: Any) -> Mapping[str, Setting]:
    """Return the small budget for generated data: a few seconds per machine."""
    return {"synthetic": Setting(options=options, reduced=True)}


def _reconstruction(name: str, *, model: str, reads: str = "reconstruction_error", **fields: Any) -> Method:
    return Method(
        name=name,
        featurizer="logmel",
        model=model,
        scorer="reconstruction_error",
        scope="machine",
        held=0.1,
        # IDNN and the convolutional autoencoder pass defaults={} and keep the HTK mels.
        **({"defaults": BASELINE_FEATURES | {"scorer.on": reads}, "on": _reduced(**EPOCHS)} | fields),
    )


def _statistics(features: str, scorer: str) -> Method:
    modulations = features == "modspec"
    title, options = BACKENDS[scorer]
    return Method(
        name=f"{features}_{scorer}",
        title=f"{'Modulation spectrum' if modulations else 'Log-mel statistics'}, {title}; no training",
        paper="none: a cheap and strong baseline",
        featurizer=features,
        model="statistics",
        scorer=scorer,
        defaults={"take": "flat" if modulations else "mean_std", **options},
        space={**({} if modulations else SPECTRUM), **STANDARDISED, **SPACES[scorer]},
        home="dcase2020_modspec" if modulations else "dcase2020",
        scope="machine",
        deterministic=True,
    )


METHODS = (
    _reconstruction(
        "autoencoder",
        title="DCASE 2020 baseline: autoencoder of frame windows",
        paper="arXiv:2006.05822",
        model="autoencoder",
        space=AUTOENCODER,
        home="dcase2020",
        printed=("contrastive_ensemble", "AE"),
    ),
    _reconstruction(
        "autoencoder_mse",
        title="DCASE baseline of 2023 to 2026: autoencoder of frame windows, squared error",
        paper="arXiv:2303.00455",
        model="selective_autoencoder",
        space=AUTOENCODER,
        presets={"official": OFFICIAL},
        home="dcase2023",
    ),
    _reconstruction(
        "autoencoder_mahala",
        title="DCASE baseline of 2023 to 2026: autoencoder of frame windows, selective Mahalanobis distance",
        paper="arXiv:2303.00455",
        model="selective_autoencoder",
        reads="mahalanobis",
        space=AUTOENCODER,
        home="dcase2023",
        presets={"official": {**OFFICIAL, "select": "clip"}, "public_code": {"select": "clip"}},
    ),
    _reconstruction(
        "idnn",
        title="IDNN: interpolation of the centre frame (ICASSP 2020)",
        paper="arXiv:2005.09234",
        model="idnn",
        defaults={},
        space=WINDOWS,
        home="dcase2020",
        printed=("asd_afpa", "IDNN"),
    ),
    Method(
        name="mobilenetv2",
        title="DCASE 2021 baseline: MobileNetV2 classifies machine IDs",
        paper="arXiv:2106.04492",
        featurizer="logmel",
        model="patch_classifier",
        scorer="claim_log_odds",
        space=CLASSIFIER,
        defaults=BASELINE_FEATURES,
        on=_reduced(
            n_mels=64, frames=32, frames_hop=8, momentum=0.05, lr=1e-3, epochs=10, checkpoint_every=5
        ),
        scope="machine",
        classes=2,
        held=0.1,
        home="dcase2020",
        printed=("asd_afpa", "MobileNetV2"),
        approximate="the printed rows are of a system that adds spectrogram warping and mixed clips (Giri et al. 2020)",
    ),
    Method(
        name="glow_aff",
        title="Glow_Aff: one flow per machine ID, the other IDs as outliers (ICASSP 2021)",
        paper="arXiv:2103.08801",
        featurizer="logmel",
        model="flow_density",
        space=FLOW,
        scorer="negative_log_probability",
        on=_reduced(
            n_mels=64,
            frames=16,
            frames_hop=16,
            levels=2,
            steps=3,
            hidden=32,
            lr=2e-3,
            epochs=30,
            batch_size=32,
            checkpoint_every=10,
        ),
        scope="machine",
        classes=2,
        held=0.1,
        home="dcase2020",
        printed=("asd_afpa", "Glow_Aff"),
        approximate="full text not read here: sizes of the flow and the form of the loss for the other IDs are ours",
    ),
    Method(
        name="aadcl",
        title="AADCL: contrastive embedding of log-mel views, nearest neighbour (ICASSP 2022)",
        paper="ICASSP 2022, Hojjati and Armanfard",
        featurizer="logmel",
        model="contrastive",
        scorer="knn",
        on=_reduced(n_mels=64, width=16, layers=3, epochs=30, batch_size=32, checkpoint_every=10),
        scope="machine",
        items=2,
        home="dcase2020",
        printed=("contrastive_ensemble", "AADCL"),
        approximate="network, augmentations and distance",
    ),
    _reconstruction(
        "conv_autoencoder",
        title="Convolutional autoencoder of log-mel patches, in place of SLFE-AE and Self-encoder",
        paper="none: stands for autoencoders whose papers were not read here",
        model="convolutional_autoencoder",
        defaults={},
        on=_reduced(n_mels=64, width=8, layers=3, frames=16, epochs=60, batch_size=16, checkpoint_every=20),
        home="dcase2020",
        approximate="everything except that it is an autoencoder of spectrograms",
        printed=("contrastive_ensemble", "SLFE-AE"),
    ),
    TWO_BRANCH,
    *(_statistics("logmel", scorer) for scorer in ("knn", "gmm", "mahalanobis")),
    *(_statistics("modspec", scorer) for scorer in BACKENDS),
    *UNTRAINED,
    Method(
        name="encoder_knn",
        title="Nearest neighbours of an encoder's embeddings; the user supplies the encoder as a file",
        paper="none: pre-trained encoders without further training",
        featurizer="raw",
        model="frozen_encoder",
        scorer="knn",
        space=OF_NEAREST,
        requires={"encoder": "give the path of a TorchScript encoder, for example encoder=encoder.pt"},
        deterministic=True,
        home="dcase2020",
        scope="machine",
    ),
)
"""All methods of this plugin."""
