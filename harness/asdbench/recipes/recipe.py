"""The recipe: a method on a dataset with the value of every option, whether typed or a default.

Equal recipes give equal results, so the identifiers of models and scores are hashes of recipes (and of the data).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from asdbench.core.config import Config
from asdbench.errors import unknown
from asdbench.plugin.entries import Aggregate, Selection, Tuned

PartName = Literal["featurizer", "model", "scorer"]
PARTS: tuple[PartName, ...] = ("featurizer", "model", "scorer")


Compiling = bool | Literal["graphs"]
Channel = Annotated[int, Meta(ge=0)] | Literal["mean", "all", "w1", "ss", "mask"]
FIRST_CHANNEL = 0
HASH = "_sha256"
"""Ends the name of the option with the hash of a file that another option names."""
Unequal = Literal["cut", "repeat", "pad"]
CUT: Unequal = "cut"


class CommonOptions(Config, frozen=True, kw_only=True):
    """Options that every method has, whatever its parts."""

    scorer: Annotated[str, Meta(description="scorer that turns the model's outputs into scores")]
    scorer_on: Annotated[
        Literal["train", "held"], Meta(description="items the scorer learns from: trained on or held out")
    ]
    scope: Annotated[str, Meta(description="what is trained together, for example all, machine or section")]
    held: Annotated[
        float,
        Meta(
            ge=0,
            lt=1,
            description="share of the training items of each class held out from training; at least one of two or more "
            "unless scorer_on=held",
        ),
    ]
    aggregate: Annotated[Aggregate, Meta(description="how the scores of an item's segments become one score")]
    length_s: Annotated[
        float | None,
        Meta(
            description="seconds used of each item; none: as many as the shortest training item has, or the longest if "
            "unequal is not cut"
        ),
    ]
    unequal: Annotated[
        Unequal,
        Meta(
            description="items of unequal length: cut to the shortest training item; or as long as the longest, or as "
            "length_s, shorter ones repeated from their beginning (repeat) or filled with zeros (pad)"
        ),
    ] = CUT
    precision: Annotated[
        Literal["fp32", "bf16"],
        Meta(description="fp32: without TF32 on a GPU; bf16: autocast where that is safe"),
    ] = "fp32"
    compile: Annotated[
        Compiling,
        Meta(
            description="compile the training step, worth it for long trainings; graphs: also replay it as CUDA graphs, "
            "on a GPU only"
        ),
    ] = False
    channel: Annotated[
        Channel,
        Meta(
            description="of items with several channels: the number of the one to read, their mean, all (for methods that "
            "read several), or what remains of the near channel 0 without what the far channel 1 explains: w1 (least "
            "squares), ss (spectral subtraction), mask"
        ),
    ] = FIRST_CHANNEL


class Part(Config, frozen=True, kw_only=True):
    """A featurizer, model or scorer with all its options."""

    name: str
    """Name of its entry."""
    path: str
    """Where its class is imported from, ``package.module:Name``."""
    options: dict[str, Any]
    """Every option, including defaults."""
    source: str
    """Hash of its Python files, so that a change of the code makes results stale."""

    def pinned(self) -> dict[str, str]:
        """Return the options that name files, with the SHA-256 of each file; see ``asdbench.blocks.pinned_file``."""
        return {
            name: str(digest)
            for name, file in self.options.items()
            if file and (digest := self.options.get(f"{name}{HASH}"))
        }


class Recipe(Config, frozen=True, kw_only=True, tag_field="kind", tag="method"):
    """A method with every option resolved."""

    method: str
    label: str
    """The method with the options that the user set, as typed; unique within a run."""
    featurizer: Part
    model: Part
    scorer: Part
    common: CommonOptions
    harness: str
    """Hash of the harness's own code that computes results: features, layers, training."""
    auxiliary: bool
    """True: training items of other units are added as negatives."""
    classes: int
    """Minimum number of classes in a unit."""
    items: int
    """Minimum number of training items of a unit."""
    reduced: bool
    """True: a smaller training budget than the paper's."""
    selection: Selection
    """The method's own rule for which checkpoint counts."""
    approximate: str
    """What public sources do not state about the method; empty: nothing."""
    changed: dict[str, Any]
    """Options that the user set."""
    tuned: Tuned | None = None
    """How these were chosen by tuning; None: they were not."""
    units: dict[str, Recipe] = {}
    """Recipes of single units that the method has its own options for."""

    def on_unit(self, unit: str) -> Recipe:
        """Return the recipe for a unit, for example ``fan``; ``fan/00`` takes that of ``fan`` unless it has its own."""
        return self.units.get(unit) or self.units.get(unit.partition("/")[0]) or self

    def pinned(self) -> set[str]:
        """Return the SHA-256 of every file that an option of a part names, for example of weights, units included."""
        return {
            digest
            for one in (self, *self.units.values())
            for part in (one.featurizer, one.model, one.scorer)
            for digest in part.pinned().values()
        }

    def trained(self) -> dict[str, Any]:
        """Return everything a trained model depends on: the recipe without scorer and aggregation."""
        # Labels, presets and the like are left out: two ways to type one recipe must share a model. So must two
        # scorers, which is why changing the scorer needs no retraining.
        keep = ["scope", "held", "length_s", "precision", "compile"]
        # Left out at its default, so that models keep the names that they had without these options.
        keep += ["channel"] if self.common.channel != FIRST_CHANNEL else []
        keep += ["unequal"] if self.common.unequal != CUT else []
        return {
            "harness": self.harness,
            "featurizer": msgspec.to_builtins(self.featurizer),
            "model": msgspec.to_builtins(self.model),
            "auxiliary": self.auxiliary,
        } | {name: getattr(self.common, name) for name in keep}

    def scored(self) -> dict[str, Any]:
        """Return what scores depend on besides the model."""
        return {
            "scorer": msgspec.to_builtins(self.scorer),
            "scorer_on": self.common.scorer_on,
            "aggregate": self.common.aggregate,
        }


class EnsembleRecipe(Config, frozen=True, kw_only=True, tag_field="kind", tag="ensemble"):
    """An ensemble with its members resolved."""

    method: str
    label: str
    members: list[Recipe]
    selection: Selection | Literal["members"]
    """The rule that all members share; ``members``: each keeps its own."""
    approximate: str
    changed: dict[str, Any]

    @property
    def reduced(self) -> bool:
        """True if a member has a smaller training budget than its paper."""
        return any(member.reduced for member in self.members)


def unread_message(recipe: Recipe, output: str, *, made: Iterable[str]) -> str:
    """Return the message for a scorer that reads an output which the model does not make."""
    scorer, model = recipe.scorer, recipe.model
    option = next((name for name, value in scorer.options.items() if value == output), None)
    choose = f"set scorer.{option} to one of these" if option else "choose another scorer"
    return (
        f"scorer {scorer.name!r} ({scorer.path}) reads an output that model {model.name!r} ({model.path}) does not make: "
        f"{unknown('output', output, known=made)}; {choose}, or return {output!r} from the model's outputs"
    )
