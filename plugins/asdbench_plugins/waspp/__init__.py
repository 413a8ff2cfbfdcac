"""WASPP-Net and its comparison systems: micro-expressions classified from the optical flow of a face."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product

from asdbench import Entry, Method, Preset, PresetRun, Selector, Setting, hookimpl, lazy
from asdbench_plugins.waspp.space import MODULES, SPACE
from asdbench_plugins.waspp.systems import NUMERALS, SYSTEMS

CITES = "stofa2022waspp"
DATASET = "micro_expression"

REDUCED = Setting(
    options={"width": 0.125, "input_size": 20, "epochs": 12, "lr": 1e-3, "batch_size": 16},
    reduced=True,
)
"""The small budget for generated faces: 68 folds in a few minutes on two cores."""

TABLES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "table6": ("Tables 6 and 7: SPP I to VIII", ("base", *(f"spp_{numeral}" for numeral in NUMERALS))),
    "table8": ("Tables 8 and 9: ASPP I to VIII", ("base", *(f"aspp_{numeral}" for numeral in NUMERALS))),
    "table10": ("Table 10: direct and waterfall SPP", ("base", "dsppnet", "wsppnet")),
    "table11": ("Table 11: direct and waterfall ASPP", ("base", "dasppnet", "wasppnet")),
    "table12": ("Tables 12 and 14: time and size", ("base", "dsppnet", "wsppnet", "dasppnet", "wasppnet")),
    "table13": (
        "Table 13: other networks",
        ("vggm", "dualinception", "alexnet", "ststnet", "offapexnet", "wasppnet"),
    ),
}
"""The variants that each table of the paper compares."""


@hookimpl
def asdbench_models() -> Iterable[Entry]:
    """Offer the model that all systems share."""
    return [
        Entry(
            name="waspp",
            build=lazy("asdbench_plugins.waspp.model:WasppModel"),
            summary="classifiers of optical flow: base CNN with SPP or ASPP modules, and five other networks",
            cites=CITES,
        )
    ]


@hookimpl
def asdbench_scorers() -> Iterable[Entry]:
    """Offer the log-probability of every class."""
    return [
        Entry(
            name="class_probability",
            build=lazy("asdbench_plugins.waspp.scorer:ClassProbability"),
            summary="log-probability of every class, for classification tasks",
        )
    ]


@hookimpl
def asdbench_methods() -> Iterable[Method]:
    """Offer WASPP-Net; every other system is a variant of it."""
    return [
        Method(
            name="waspp",
            title="WASPP-Net: waterfall atrous spatial pyramid for micro-expressions (Sensors 2022)",
            paper="doi:10.3390/s22124634",
            featurizer="raw",
            model="waspp",
            scorer="class_probability",
            on={"synthetic_faces": REDUCED},
            scope="all",
            items=2,
            approximate="epochs, initialisation, the flow's algorithm and its normalisation are not printed",
            presets={
                **{name: {"variant": name} for name in SYSTEMS},
                **_grid(),
                "ststnet_python": {"variant": "ststnet", "epochs": 800},
            },
            space=SPACE,
            grids={"modules": MODULES},
            home=DATASET,
            printed=("waspp_net", "WASPP-Net"),
        )
    ]


@hookimpl
def asdbench_presets() -> Iterable[Preset]:
    """Offer the paper's tables and all 32 configurations of the multi-scale module."""
    tables = [
        Preset(
            name=f"waspp_net/{table}",
            summary=summary,
            runs=(_run(variants),),
        )
        for table, (summary, variants) in TABLES.items()
    ]
    return [
        *tables,
        Preset(
            name="waspp_net/grid",
            summary="kind x branches x placement x wiring of the module",
            runs=(_run(_grid()),),
        ),
    ]


def _run(presets: Iterable[str]) -> PresetRun:
    """Return a run of the method with each of these presets; WASPP-Net itself is the method's default."""
    return PresetRun(
        dataset=Selector(DATASET),
        methods=tuple(Selector("waspp", {} if name == "wasppnet" else {"preset": name}) for name in presets),
    )


def _grid() -> dict[str, dict[str, str | int]]:
    return {
        f"{kind}{branches}_after{after}_{wiring}": {
            "variant": "base", "kind": kind, "branches": branches, "after": after, "wiring": wiring,
        }
        for kind, branches, after, wiring in product(("spp", "aspp"), range(2, 6), (1, 2), ("direct", "waterfall"))
    }  # fmt: skip
