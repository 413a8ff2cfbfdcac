"""The recipe: which layer wins, what a trained model depends on, and the errors for wrong options."""

from __future__ import annotations

import re
import sys
import types
import typing
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

import asdbench
from asdbench import (
    Config,
    ConfigError,
    Entry,
    Method,
    PluginError,
    Registry,
    Selector,
    Setting,
    config_of,
    configure,
    hookimpl,
    lazy,
    load_registry,
)
from asdbench.core.fingerprints import _imports, _sources, identifier
from asdbench.plugin.registry import Kind, NotOffered, load_plugin
from asdbench.recipes.recipe import CommonOptions, Recipe
from asdbench.recipes.resolve import COMPUTING, harness_hash, resolve

PARTS = """
from typing import Annotated, Literal
from msgspec import Meta
from asdbench import Config, Scorer

class BinsConfig(Config, frozen=True):
    bins: Annotated[int, Meta(ge=1)] = 4
    floor: float = 0.5

class Bins:
    Config = BinsConfig
    forward = print

class NetConfig(Config, frozen=True):
    epochs: Annotated[int, Meta(ge=1)] = 100
    floor: float = 0.1
    depth: int | None = 3
    bias: bool = False
    order: Literal["none", "sorted"] = "sorted"

class Net:
    Config = NetConfig
    fit = outputs = print

class Stub(Scorer, frozen=True):
    def fit(self, outputs, context): return {}
    def score(self, state, outputs, context): return outputs[self.on]

class Near(Stub, frozen=True):
    on: str = "embedding"
    k: int = 1
    name: Annotated[str, Meta(pattern="^[a-z]+$")] = "near"
    shape: list[int] = []

    def __post_init__(self):
        if self.k == 13:
            raise ValueError("13 is no good number")

class Far(Stub, frozen=True):
    on: str = "embedding"
    k: int = 5
"""
TOY = Method(
    name="toy",
    title="Toy",
    paper="none",
    featurizer="bins",
    model="net",
    scorer="near",
    defaults={"epochs": 50, "scorer.k": 2},
    on={
        "small": Setting(
            options={"epochs": 5, "held": 0.2, "aggregate": "max"}, reduced=True, selection="validation"
        ),
        "pooled": Setting(options={"scorer": "far", "scorer.k": 7}),
    },
    scope="machine",
    length_s=2.0,
    presets={
        "slow": {"epochs": 500, "model.floor": 0.3},
        "far": {"scorer": "far", "scorer.k": 9},
        "fast": {"epochs": 1},
    },
    reduced_presets=("fast",),
)


def entry(name: str, path: str) -> Entry:
    return Entry(name=name, build=lazy(f"toy_parts:{path}"), summary="a toy")


def registry_with(*methods: Method) -> Registry:
    plugin = types.SimpleNamespace(
        asdbench_featurizers=hookimpl(lambda: [entry("bins", "Bins")]),
        asdbench_models=hookimpl(lambda: [entry("net", "Net")]),
        asdbench_scorers=hookimpl(lambda: [entry("near", "Near"), entry("far", "Far")]),
        asdbench_methods=hookimpl(lambda: methods),
    )
    registry = Registry()
    load_plugin(registry, "toys", load=lambda: plugin)
    return registry


@pytest.fixture(scope="module", autouse=True)
def toy_parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("parts")
    (folder / "toy_parts.py").write_text(PARTS)
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    sys.modules.pop("toy_parts", None)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return registry_with(TOY)


def toy(registry: Registry, *words: str, on: str = "large") -> Recipe:
    return resolve(registry, Selector("toy", dict(word.split("=") for word in words)), dataset=on)


def test_a_parts_own_defaults_are_the_ground(registry: Registry) -> None:
    recipe = toy(registry)
    assert recipe.featurizer.options == {"bins": 4, "floor": 0.5}
    assert (recipe.model.options["depth"], recipe.model.options["bias"]) == (3, False)
    assert (recipe.common.scope, recipe.common.held, recipe.common.length_s) == ("machine", 0.0, 2.0)
    assert (recipe.common.aggregate, recipe.common.precision, recipe.reduced) == ("mean", "fp32", False)


@pytest.mark.parametrize(
    ("words", "on", "epochs"),
    [
        ([], "large", 50),
        ([], "small", 5),
        (["preset=slow"], "small", 500),
        (["epochs=7"], "small", 7),
        (["preset=slow", "epochs=7"], "small", 7),
        (["preset=slow", "model.epochs=7"], "small", 7),
    ],
)
def test_defaults_yield_to_the_dataset_the_dataset_to_the_preset_the_preset_to_the_user(
    registry: Registry, words: list[str], on: str, epochs: int
) -> None:
    assert toy(registry, *words, on=on).model.options["epochs"] == epochs


LAYER = st.none() | st.integers(min_value=1, max_value=9)


@settings(deadline=None, max_examples=50)  # each example hashes the source files again
@given(default=LAYER, setting=LAYER, preset=LAYER, user=LAYER)
def test_the_last_layer_that_sets_an_option_wins(
    default: int | None, setting: int | None, preset: int | None, user: int | None
) -> None:
    layers: list[dict[str, Any]] = [
        {} if epochs is None else {"epochs": epochs} for epochs in (default, setting, preset)
    ]
    changed = replace(
        TOY, defaults=layers[0], on={"any": Setting(options=layers[1])}, presets={"p": layers[2]}
    )
    options = {"preset": "p"} | ({} if user is None else {"epochs": str(user)})
    recipe = resolve(registry_with(changed), Selector("toy", options), dataset="any")
    stated = [epochs for epochs in (100, default, setting, preset, user) if epochs is not None]
    assert recipe.model.options["epochs"] == stated[-1]


def test_a_dataset_may_change_the_common_options_and_states_a_reduced_budget(registry: Registry) -> None:
    recipe = toy(registry, on="small")
    assert (recipe.common.held, recipe.common.aggregate, recipe.reduced) == (0.2, "max", True)
    assert toy(registry, "held=0.5", on="small").common.held == 0.5


def test_a_preset_may_state_a_reduced_budget_wherever_it_is_used(registry: Registry) -> None:
    assert toy(registry, "preset=fast", on="large").reduced
    assert toy(registry, "preset=slow", on="small").reduced
    assert not toy(registry, "preset=slow", on="large").reduced


def test_a_dataset_may_change_the_rule_for_checkpoints(registry: Registry) -> None:
    assert toy(registry, on="small").selection == "validation"
    assert toy(registry, on="large").selection == "last"


@pytest.mark.parametrize(
    ("words", "on", "scorer", "k"),
    [
        ([], "large", "near", 2),
        (["scorer=near"], "large", "near", 2),
        (["scorer=far"], "large", "far", 5),
        (["scorer=far", "scorer.k=8"], "large", "far", 8),
        (["scorer=far", "k=8"], "large", "far", 8),
        (["preset=far"], "large", "far", 9),
        (["preset=far", "scorer.k=3"], "large", "far", 3),
        (["preset=far", "scorer=near"], "large", "near", 2),
        ([], "pooled", "far", 7),
        (["scorer=near"], "pooled", "near", 2),
    ],
)
def test_options_go_with_the_scorer_that_they_were_set_for(
    registry: Registry, words: list[str], on: str, scorer: str, k: int
) -> None:
    recipe = toy(registry, *words, on=on)
    assert (recipe.scorer.name, recipe.common.scorer, recipe.scorer.options["k"]) == (scorer, scorer, k)


@pytest.mark.parametrize("word", ["scorer=far", "k=8", "aggregate=max"])
def test_a_trained_model_does_not_depend_on_how_its_outputs_are_scored(registry: Registry, word: str) -> None:
    plain, other = toy(registry), toy(registry, word)
    assert other.trained() == plain.trained()
    assert other.scored() != plain.scored()


@pytest.mark.parametrize(
    "word", ["epochs=51", "bins=5", "held=0.1", "scope=all", "length_s=1", "precision=bf16"]
)
def test_a_trained_model_depends_on_all_that_training_reads(registry: Registry, word: str) -> None:
    assert identifier(toy(registry, word).trained()) != identifier(toy(registry).trained())


def test_a_scorer_cannot_learn_from_held_out_items_where_none_are(registry: Registry) -> None:
    with pytest.raises(
        ConfigError, match=r"scorer_on=held needs held-out items, but held=0 keeps none; .* held=0\.1"
    ):
        toy(registry, "scorer_on=held")


def test_another_scorer_on_a_real_method_keeps_the_trained_model() -> None:
    shipped = load_registry()
    plain = resolve(shipped, Selector("stgram_afpa"), dataset="dcase2020")
    options = {"scorer": "gmm", "components": "2"}
    other = resolve(shipped, Selector("stgram_afpa", options), dataset="dcase2020")
    assert (plain.scorer.name, other.scorer.name) == ("negative_log_probability", "gmm")
    assert other.scorer.options["components"] == 2
    assert other.trained() == plain.trained()


@pytest.mark.parametrize(
    ("word", "part", "value"),
    [
        ("bias=true", "model", True),
        ("bias=false", "model", False),
        ("bias=1", "model", True),
        ("depth=none", "model", None),
        ("order=none", "model", "none"),
        ("depth=8", "model", 8),
        ("model.floor=1e-3", "model", 0.001),
        ("featurizer.floor=2", "featurizer", 2.0),
        ("on=fusion", "scorer", "fusion"),
    ],
)
def test_text_becomes_the_type_of_its_option(registry: Registry, word: str, part: str, value: object) -> None:
    found = getattr(toy(registry, word), part).options[word.partition("=")[0].rpartition(".")[2]]
    assert (found, type(found)) == (value, type(value))


def test_none_and_numbers_are_understood_for_what_every_method_has(registry: Registry) -> None:
    common = toy(registry, "length_s=none", "held=0.25", "compile=true", "scope=all").common
    assert (common.length_s, common.held, common.compile, common.scope) == (None, 0.25, True, "all")
    assert toy(registry, "compile=graphs").common.compile == "graphs"
    assert (
        toy(registry).trained()["compile"] is False
    )  # as before there were graphs: models keep their identifiers


def test_how_to_compile_is_a_truth_value_or_a_choice(registry: Registry) -> None:
    with pytest.raises(ConfigError, match=r"unknown value of compile 'yes' \(known: graphs, true or false\)"):
        toy(registry, "compile=yes")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            "epoch=3",
            r"toy: unknown option 'epoch'; did you mean 'epochs'\? \(known: aggregate, .*preset.*scorer",
        ),
        ("model.epoch=3", r"toy: unknown option of the model 'epoch'; did you mean 'epochs'\? \(known: bias"),
        ("scorer.kk=3", "toy: unknown option of the scorer 'kk'; did you mean 'k'"),
        ("nowhere.epochs=3", "toy: unknown option 'nowhere.epochs'"),
        ("floor=1", "toy: option 'floor' is ambiguous; write featurizer.floor or model.floor"),
        ("preset=slw", r"toy: unknown preset 'slw'; did you mean 'slow'\? \(known: far, fast, slow\)"),
        ("epochs=0", "toy[epochs=0], model net: epochs=0 is not a whole number >= 1"),
        ("epochs=many", "toy[epochs=many], model net: epochs=many is not a whole number >= 1"),
        ("epochs=none", "toy[epochs=none], model net: epochs=none is not a whole number >= 1"),
        ("depth=1.5", "toy[depth=1.5], model net: depth=1.5 is not none or a whole number"),
        ("bias=maybe", "toy[bias=maybe], model net: bias=maybe is not true or false"),
        ("held=1", "toy[held=1]: held=1 is not a number >= 0 and < 1"),
        ("length_s=x", "toy[length_s=x]: length_s=x is not none or a number"),
        (
            "order=sort",
            re.escape(
                "toy[order=sort], model net: unknown value of order 'sort'; did you mean 'sorted'? (known: none, sorted)"
            ),
        ),
        (
            "aggregate=median",
            re.escape(
                "toy[aggregate=median]: unknown value of aggregate 'median'; did you mean 'mean'? "
                "(known: lower_half, max, mean, upper_half)"
            ),
        ),
        (
            "precision=fp64",
            re.escape("toy[precision=fp64]: unknown value of precision 'fp64' (known: bf16, fp32)"),
        ),
        ("name=a b", 'toy[name="a b"], scorer near: name=a b is not text of the form ^[a-z]+$'),
        ("shape=1+2", "toy[shape=1+2], scorer near: Expected `array`, got `str` - at `$.shape`"),
    ],
)
def test_an_option_that_does_not_fit_is_refused_with_what_would_be_right(
    registry: Registry, word: str, message: str
) -> None:
    pattern = message if "(known" in message else re.escape(message)
    with pytest.raises(ConfigError, match=pattern):
        toy(registry, word)


def test_what_a_config_itself_refuses_is_an_error_in_its_words(registry: Registry) -> None:
    with pytest.raises(ConfigError, match=r"toy\[k=13\], scorer near: 13 is no good number"):
        toy(registry, "k=13")


def test_an_unknown_scorer_lists_the_known_ones(registry: Registry) -> None:
    with pytest.raises(NotOffered, match=r"unknown scorer 'fur'; did you mean 'far'\? \(known: far, near\)"):
        toy(registry, "scorer=fur")


def test_the_label_names_what_the_user_changed_in_one_order(registry: Registry) -> None:
    assert toy(registry).label == "toy"
    assert toy(registry, "scorer=far", "epochs=7").label == "toy[epochs=7,scorer=far]"
    assert toy(registry, "epochs=7", "scorer=far").label == "toy[epochs=7,scorer=far]"
    assert toy(registry, "preset=slow").changed == {"preset": "slow"}
    assert toy(registry, "scorer.on=a,b").label == 'toy[scorer.on="a,b"]'


def test_a_recipe_survives_its_way_through_json(registry: Registry) -> None:
    recipe = toy(registry, "depth=none", "preset=slow", on="small")
    assert msgspec.json.decode(msgspec.json.encode(recipe), type=Recipe) == recipe


def test_an_identifier_depends_on_values_and_not_on_the_order_of_keys() -> None:
    assert identifier({"a": 1, "b": {"c": 2, "d": 3}}) == identifier({"b": {"d": 3, "c": 2}, "a": 1})
    assert identifier({"a": 1}) != identifier({"a": 2})
    assert identifier("a", "b") != identifier("ab")
    assert re.fullmatch(r"[0-9a-f]{16}", identifier("a"))


def test_a_dataset_is_configured_from_words() -> None:
    synthetic = load_registry().build("dataset", "synthetic")
    assert configure(config_of(synthetic), {"ids": "2", "difficulty": "0.25"}, of="synthetic").ids == 2
    with pytest.raises(ConfigError, match="synthetic: unknown option 'id'; did you mean 'ids'"):
        configure(config_of(synthetic), {"id": "2"}, of="synthetic")


def test_a_class_without_a_config_of_ours_breaks_the_contract() -> None:
    class Bare:
        Config = dict

    with pytest.raises(PluginError, match=r"has no Config that inherits from asdbench\.Config"):
        config_of(Bare)


def test_a_config_with_a_type_that_cannot_be_read_is_the_plugins_fault() -> None:
    class Odd(Config, frozen=True):
        both: list[int] | tuple[int, ...] = ()

    with pytest.raises(PluginError, match=r"odd: Odd is not a valid Config: .*array-like"):
        configure(Odd, {"both": "1"}, of="odd")


COMPUTES_NOTHING = {
    "asdbench.core.config",
    "asdbench.core.environment",
    "asdbench.core.files",
    "asdbench.core.info",
    "asdbench.data.dataset",
    "asdbench.data.kept",
    "asdbench.errors",
    "asdbench.jobs.reference",
    "asdbench.messages.jobs",
    "asdbench.messages.progress",
    "asdbench.messages.results",
    "asdbench.messages.isolation",
    "asdbench.messages.rows",
    "asdbench.plugin.entries",
    "asdbench.recipes.recipe",
    "asdbench.results.occupied",
    "asdbench.results.once",
    "asdbench.results.store",
}
"""Modules of the harness that jobs use and that state what is computed, or keep it; no identifier holds their hash."""


def is_hashed(module: str) -> bool:
    return any(module == each or module.startswith(f"{each}.") for each in COMPUTING)


def test_what_a_job_runs_is_hashed_or_computes_nothing() -> None:
    used = set(_sources("asdbench.jobs.job"))
    assert {module for module in used if not is_hashed(module)} == COMPUTES_NOTHING
    assert set(COMPUTING) - {"asdbench.blocks", "asdbench.dsp"} <= used | {"asdbench.detector"}


def test_what_the_shipped_parts_take_from_the_harness_is_hashed_or_computes_nothing() -> None:
    listed = load_registry()
    kinds: tuple[Kind, ...] = ("featurizer", "model", "scorer")
    modules = {
        listed.entry(kind, name).build.path.partition(":")[0] for kind in kinds for name in listed.names(kind)
    }
    contents = {content for module in modules for content in _sources(module).values()}
    imports = {pair for content in contents for pair in _imports(content)}
    taken = {base for base, _ in imports if base.startswith("asdbench.")}
    taken |= {module_of(name) for base, name in imports if base == "asdbench"}
    assert {module for module in taken if not is_hashed(module)} <= COMPUTES_NOTHING
    assert {"asdbench.detector.trainer", "asdbench.detector.contracts", "asdbench.dsp"} <= taken


def module_of(name: str) -> str:
    """Return the module of the harness that defines a public name."""
    return asdbench._LATER.get(name) or str(getattr(asdbench, name).__module__)


def test_the_harness_is_part_of_what_a_model_depends_on(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = identifier(toy(registry).trained())
    monkeypatch.setattr("asdbench.recipes.resolve.file_hash_of", lambda module: f"{module} edited")
    harness_hash.cache_clear()
    assert identifier(toy(registry).trained()) != before
    monkeypatch.undo()
    harness_hash.cache_clear()
    assert identifier(toy(registry).trained()) == before


def test_the_option_precision_states_that_fp32_is_no_tf32() -> None:
    hint = typing.get_type_hints(CommonOptions, include_extras=True)["precision"]
    [meta] = [meta for meta in typing.get_args(hint) if isinstance(meta, msgspec.Meta)]
    assert "fp32: without TF32" in (meta.description or "")


@pytest.mark.parametrize("value", ["inf", "-inf", "nan"])
def test_numbers_that_json_cannot_hold_are_refused(registry: Registry, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"length_s={value} is not a finite number"):
        resolve(registry, Selector("toy", {"length_s": value}), dataset="synthetic")
