"""Systems of Table 3 that are known only from a few words: what a runnable approximation of each is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from asdbench import Entry, Method, Setting, lazy

PACKAGE = "asdbench_plugins.contrastive_ensemble.compared"
SMALL: Mapping[str, Any] = {"width": 16, "layers": 3, "batch_size": 32, "checkpoint_every": 5}
"""The small budget for generated data, besides the epochs."""


def models() -> Iterable[Entry]:
    """Return the networks."""
    return [
        Entry(
            name="complex_network",
            build=lazy(f"{PACKAGE}.complex_network:ComplexNetwork"),
            summary="complex convolutions on the complex spectrogram, gated by magnitude, that classify machine IDs",
            cites="trabelsi2018complex",
        ),
        Entry(
            name="incremental_classifier",
            build=lazy(f"{PACKAGE}.incremental:IncrementalClassifier"),
            summary="convolutional ID classifier that learns one machine type after another, with rehearsal",
            cites="rebuffi2017icarl",
        ),
        Entry(
            name="adversarial_classifier",
            build=lazy(f"{PACKAGE}.adversarial:AdversarialClassifier"),
            summary="convolutional ID classifier whose embedding an adversary keeps free of the domain",
            cites="ganin2015unsupervised",
        ),
    ]


def methods() -> Iterable[Method]:
    """Return the approximated systems."""
    return [
        _classifier(
            "complex_network",
            "Complex-network: complex-valued ID classifier with attention, approximated",
            printed="Complex-network",
            paper="arXiv:2312.13615",
            unread="the cited paper (Kim et al., EUSIPCO 2021), so layers, attention and training are ours",
            featurizer="raw",
            scope="machine",
            epochs=10,
        ),
        _classifier(
            "incremental_classifier",
            "Reference [31]: ID classifier that learns one machine type after another, approximated",
            printed="Reference [31]",
            paper="SAFEPROCESS 2023, Zhou et al.",
            unread="the cited paper, so network, order of the tasks and rehearsal are ours",
            epochs=6,
        ),
        Method(
            name="time_spectrum_fusion",
            title="Fusion of time and spectrum, in place of LMTnet and reference [33]",
            paper="DDCLS 2024, Geng et al.; DDCLS 2023, Ma et al.",
            featurizer="logmel",
            model="stgram",
            scorer="negative_log_probability",
            # Lighter than STgram-MFN, and without a margin, which neither description mentions.
            defaults={"afpa": False, "mfn_setting": "dcase2022", "margin": 0.0, "epochs": 200},
            on={
                "synthetic": Setting(
                    options={
                        "length_s": 1.536, "epochs": 8, "batch_size": 32, "lr": 1e-3, "start_epoch": 0,
                        "checkpoint_every": 4,
                    },
                    reduced=True,
                )
            },
            classes=2,
            length_s=10.0,
            approximate="full text of the cited papers not read here: STgram-MFN's fusion, smaller and without margin, "
            "stands in for both",
            home="dcase2020",
            printed=("contrastive_ensemble", "Reference [33]"),
        ),
        _classifier(
            "uada",
            "UADA: ID classifier with an adversary of the domain, approximated",
            printed="UADA",
            paper="ICCI*CC 2021, Gu et al.",
            unread="the cited paper, so network, adversary and schedule are ours",
            model="adversarial_classifier",
            scope="machine",
            home="mimii_due",
            epochs=10,
        ),
    ]  # fmt: skip


def _classifier(
    name: str, title: str, *, printed: str, unread: str, epochs: int, model: str = "", **fields: Any
) -> Method:
    """Return a classifier of machine IDs; ``epochs`` are those of the small budget."""
    shared: dict[str, Any] = {"featurizer": "logmel", "home": "dcase2020"}
    return Method(
        name=name,
        title=title,
        model=model or name,
        scorer="negative_log_probability",
        on={"synthetic": Setting(options={**SMALL, "epochs": epochs}, reduced=True)},
        classes=2,
        items=2,
        approximate=f"full text not read here of {unread}",
        printed=("contrastive_ensemble", printed),
        **shared | fields,
    )
