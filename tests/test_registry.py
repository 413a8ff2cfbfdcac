"""The registry: broken plugins are reported and skipped, and everything that is listed keeps its contract."""

from __future__ import annotations

import inspect
import json
import logging
import re
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import click
import msgspec
import pytest

import asdbench
from asdbench import (
    Config,
    ConfigError,
    Dataset,
    Featurizer,
    Model,
    PluginError,
    Registry,
    Scorer,
    Selector,
    config_of,
    configure,
    load_registry,
)
from asdbench.cli import status_of
from asdbench.plugin.registry import HOOKS, Kind, NotOffered, load_plugin
from asdbench.recipes.resolve import resolve
from asdbench.runs.describe import MethodDescription, describe

METADATA = """Metadata-Version: 2.1
Name: stranger-sounds
Version: 1.2
Provides-Extra: sound
Requires-Dist: no-such-library>=2; extra == "sound"
"""
HEAD = """
from asdbench import Entry, hookimpl, lazy

def entry(name, path="stranger:Thing"):
    return Entry(name=name, build=lazy(path), summary="a stranger's")

"""
BROKEN = {
    "a library that is not there": ("import no_such_library", "No module named 'no_such_library'"),
    "an error of its own": ("raise RuntimeError('no dongle found')", "RuntimeError: no dongle found"),
    "an exit": ("raise SystemExit(5)", "SystemExit: 5"),
    "an exit of a hook": ("@hookimpl\ndef asdbench_scorers(): raise SystemExit", "SystemExit"),
    "an unknown hook": ("@hookimpl\ndef asdbench_scorer(): return []", "unknown hook 'asdbench_scorer'"),
    "a wrong signature": (
        "@hookimpl\ndef asdbench_scorers(registry): return []",
        "'asdbench_scorers'.*\n?.*registry",
    ),
    "a name that is taken": (
        "@hookimpl\ndef asdbench_scorers(): return [entry('strange'), entry('knn')]",
        r"scorer 'knn' is already offered by plugin scorers \(asdbench ",
    ),
    "one name twice": (
        "@hookimpl\ndef asdbench_scorers(): return [entry('strange'), entry('strange')]",
        "scorer 'strange' is offered twice",
    ),
    "a value that is no entry": (
        "@hookimpl\ndef asdbench_scorers(): return ['strange']",
        "hook asdbench_scorers must return Entry values, got str",
    ),
    "an entry where a method belongs": (
        "@hookimpl\ndef asdbench_methods(): return [entry('strange')]",
        "hook asdbench_methods must return Method values, got Entry",
    ),
    "printed numbers that are no pointer": (
        "@hookimpl\ndef asdbench_scorers(): return [entry('strange')]\n"
        "@hookimpl\ndef asdbench_printed(): return [len]",
        "hook asdbench_printed must return Lazy values, got builtin_function_or_method",
    ),
    "another version of the plugin API": (
        "asdbench_api = '2'\n@hookimpl\ndef asdbench_scorer(): return []",
        r"made for version 2 of the plugin API \(asdbench_api\), and this asdbench has version 1",
    ),
    "a library of an extra": (
        "import no_such_library.sound",
        r"No module named 'no_such_library'.*; its extra installs it: pip install 'stranger-sounds\[sound\]'",
    ),
    "a hook that fails": ("@hookimpl\ndef asdbench_scorers(): return 1 / 0", "ZeroDivisionError"),
}  # fmt: skip

Install = Callable[[str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a stranger's distribution. Its only plugin, ``stranger``, has the given code."""

    def installed(code: str) -> None:
        metadata = tmp_path / "stranger_sounds-1.2.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(METADATA)
        (metadata / "entry_points.txt").write_text("[asdbench.plugins]\nstranger = stranger\n")
        (tmp_path / "stranger.py").write_text(HEAD + code)
        monkeypatch.syspath_prepend(str(tmp_path))

    yield installed
    sys.modules.pop("stranger", None)


@pytest.mark.parametrize(("code", "cause"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_plugin_is_reported_with_distribution_version_and_cause_and_skipped(
    code: str, cause: str, install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    undisturbed = load_registry()
    before = {kind: undisturbed.names(kind) for kind in HOOKS}
    install(code)
    with caplog.at_level(logging.WARNING):
        registry = load_registry()
    [plugin] = [plugin for plugin in registry.plugins if plugin.name == "stranger"]
    assert (plugin.distribution, plugin.version, plugin.offers) == ("stranger-sounds", "1.2", ())
    assert {kind: registry.names(kind) for kind in HOOKS} == before
    assert len(list(registry.printed())) == len(list(undisturbed.printed()))
    assert re.search(cause, plugin.broken or "")
    assert [f"plugin stranger (stranger-sounds 1.2) is skipped: {plugin.broken}"] == caplog.messages


def test_a_plugin_that_states_this_version_of_the_api_is_loaded(install: Install) -> None:
    install(
        f"class Thing: pass\nasdbench_api = {asdbench.API_VERSION!r}\n"
        "@hookimpl\ndef asdbench_scorers(): return [entry('strange')]"
    )
    assert "strange" in load_registry().names("scorer")


def test_a_library_that_an_entry_lacks_is_named_with_the_extra_that_installs_it(install: Install) -> None:
    install("@hookimpl\ndef asdbench_scorers(): return [entry('strange', 'no_such_library:Thing')]")
    with pytest.raises(PluginError, match=r"scorer 'strange'.*pip install 'stranger-sounds\[sound\]'"):
        load_registry().build("scorer", "strange")


def test_asking_for_what_a_broken_plugin_offers_names_its_cause(install: Install) -> None:
    install("import no_such_library")
    message = r"unknown scorer 'strange'.*not loaded: stranger \(stranger-sounds 1.2\): .*no_such_library"
    with pytest.raises(NotOffered, match=message):
        load_registry().entry("scorer", "strange")


def test_a_strangers_plugin_stands_beside_ours(install: Install) -> None:
    install("class Thing: pass\n@hookimpl\ndef asdbench_scorers(): return [entry('strange')]")
    registry = load_registry()
    assert registry.build("scorer", "strange") is sys.modules["stranger"].Thing
    assert str(registry.owner("scorer", "strange")) == "stranger (stranger-sounds 1.2)"
    assert registry.owner("scorer", "strange").offers == (("scorer", "strange"),)


def test_an_entry_that_cannot_be_imported_names_plugin_version_and_cause(install: Install) -> None:
    install("@hookimpl\ndef asdbench_scorers(): return [entry('strange', 'stranger:Missing')]")
    message = (
        r"scorer 'strange' of plugin stranger \(stranger-sounds 1.2\) cannot be imported from "
        "stranger:Missing: AttributeError: module 'stranger' has no attribute 'Missing'"
    )
    with pytest.raises(PluginError, match=message):
        load_registry().build("scorer", "strange")


def test_what_a_plugin_prints_does_not_spoil_json(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install("print('welcome to stranger!')")
    assert status_of(["plugins", "--json"]) == 0
    output = capsys.readouterr()
    assert "stranger" in [row["plugin"] for row in json.loads(output.out)]
    assert "welcome to stranger!" in output.err


def test_the_list_of_plugins_shows_a_broken_one_with_its_cause(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install("import no_such_library")
    assert status_of(["plugins"]) == 0
    shown = capsys.readouterr().out
    assert "stranger (stranger-sounds 1.2)\n  broken: ModuleNotFoundError: No module named" in shown
    assert status_of(["plugins", "--json"]) == 0
    [row] = [row for row in json.loads(capsys.readouterr().out) if row["plugin"] == "stranger"]
    assert row["broken"].startswith("ModuleNotFoundError")


def test_a_plugin_without_a_distribution_is_shown_as_unknown() -> None:
    registry = Registry()

    def load() -> object:
        raise OSError("gone")

    load_plugin(registry, "loose", load=load)
    assert str(registry.plugins[0]) == "loose (unknown unknown)"


def test_a_plugin_is_left_out_by_environment_and_by_option(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "knn" in load_registry().names("scorer")
    assert status_of(["--no-plugin", "scorers", "--no-plugin", "features", "plugins", "--json"]) == 0
    names = {row["plugin"] for row in json.loads(capsys.readouterr().out)}
    assert "baselines" in names
    assert names.isdisjoint({"scorers", "features"})
    assert "knn" in load_registry().names("scorer"), "the option must not outlive its command"
    monkeypatch.setenv("ASDBENCH_DISABLE_PLUGINS", "scorers, features")
    registry = load_registry()
    assert "knn" not in registry.names("scorer")
    assert "logmel" not in registry.names("featurizer")


def test_leaving_out_a_plugin_that_is_not_installed_names_the_nearest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ASDBENCH_DISABLE_PLUGINS", "baseline")
    with pytest.raises(ConfigError, match="unknown plugin 'baseline'; did you mean 'baselines'"):
        load_registry()


def test_an_unknown_name_lists_the_known_and_the_nearest() -> None:
    message = r"unknown method 'stgram_afp'; did you mean 'stgram_afpa'\? \(known: .*idnn.*stgram_mfn"
    with pytest.raises(NotOffered, match=message):
        load_registry().method("stgram_afp")
    with pytest.raises(NotOffered, match=r"unknown dataset 'zzz' \(known: dcase2020, "):
        load_registry().entry("dataset", "zzz")
    with pytest.raises(PluginError, match="expected Entry 'idnn', found Method"):
        load_registry().entry("method", "idnn")


LISTED = load_registry()
VALUES = {"method", "ensemble", "preset"}
"""Kinds that are values, not entries."""
ENTRIES = [(kind, name) for kind in HOOKS if kind not in VALUES for name in LISTED.names(kind)]
METHODS = LISTED.names("method")
CONFIGURED: tuple[Kind, ...] = ("dataset", "featurizer", "model", "scorer")


def test_no_two_shipped_datasets_of_different_modules_share_a_source_hash() -> None:
    hashes: dict[str, set[str]] = {}
    for name in LISTED.names("dataset"):
        module = LISTED.entry("dataset", name).build.path.partition(":")[0]
        hashes.setdefault(LISTED.source_hash("dataset", name), set()).add(module)
    assert all(len(modules) == 1 for modules in hashes.values())
    assert len(hashes) > 10


def test_the_shipped_plugins_all_load_and_something_of_every_main_kind_is_listed() -> None:
    assert [str(plugin) for plugin in LISTED.plugins if plugin.broken] == []
    assert all(LISTED.names(kind) for kind in (*CONFIGURED, "method", "metrics", "table"))


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_every_entry_is_imported_from_its_own_plugin_or_the_harness(kind: Kind, name: str) -> None:
    entry = LISTED.entry(kind, name)
    assert LISTED.build(kind, name) is not None
    assert entry.summary
    assert entry.build.path.startswith(("asdbench.", plugin_module(LISTED.owner(kind, name).name)))


def plugin_module(name: str) -> str:
    return next(plugin.module for plugin in LISTED.plugins if plugin.name == name)


@pytest.mark.parametrize(("kind", "name"), [pair for pair in ENTRIES if pair[0] in CONFIGURED])
def test_every_option_has_a_default_and_a_meaning(kind: Kind, name: str) -> None:
    config = config_of(LISTED.build(kind, name))
    assert configure(config, {}, of=name) == config(), "the defaults must be valid"
    bare = [field.name for field in msgspec.structs.fields(config) if not meaning(field.type)]
    assert bare == [], f"options of {kind} {name} without a description"


def meaning(hint: Any) -> str:
    if typing.get_origin(hint) is not Annotated:
        return ""
    metas = [meta for meta in typing.get_args(hint)[1:] if isinstance(meta, msgspec.Meta)]
    return " ".join(meta.description for meta in metas if meta.description)


@pytest.mark.parametrize("name", LISTED.names("dataset"))
def test_every_dataset_is_a_frozen_config_that_keeps_the_protocol(name: str) -> None:
    built = LISTED.build("dataset", name)
    check_frozen(built)
    dataset = built()
    assert isinstance(dataset, Dataset)
    card = dataset.card
    assert card.name == name
    assert set(card.claims) <= set(card.columns)
    assert all(set(columns) <= set(card.columns) for columns in card.scopes.values())
    assert card.scopes["all"] == ()
    assert card.metrics in LISTED.names("metrics")
    assert card.licence


@pytest.mark.parametrize("name", LISTED.names("scorer"))
def test_every_scorer_is_a_frozen_config_that_inherits_from_the_contract(name: str) -> None:
    built = LISTED.build("scorer", name)
    check_frozen(built)
    assert issubclass(built, Scorer)
    assert isinstance(built().on, str)
    assert built.score is not Scorer.score
    assert built.fit is not Scorer.fit or not built.learns
    assert list(inspect.signature(built.fit).parameters) == ["self", "outputs", "context"]
    assert list(inspect.signature(built.score).parameters) == ["self", "state", "outputs", "context"]


def check_frozen(built: Any) -> None:
    assert issubclass(built, Config)
    assert built.__struct_config__.frozen
    assert built.__struct_config__.forbid_unknown_fields


@pytest.mark.parametrize("name", LISTED.names("featurizer"))
def test_every_featurizer_inherits_from_the_contract(name: str) -> None:
    built = LISTED.build("featurizer", name)
    assert issubclass(built, Featurizer)
    assert built.forward is not Featurizer.forward


@pytest.mark.parametrize("name", LISTED.names("model"))
def test_every_model_inherits_from_the_contract(name: str) -> None:
    built = LISTED.build("model", name)
    assert issubclass(built, Model)
    assert built.fit is not Model.fit
    assert built.outputs is not Model.outputs


@pytest.mark.parametrize("kind", ["metrics", "table", "figure"])
def test_every_function_that_is_offered_can_be_called(kind: Kind) -> None:
    assert all(callable(LISTED.build(kind, name)) for name in LISTED.names(kind))


def test_every_command_that_is_offered_is_a_click_command_with_a_summary() -> None:
    for name in LISTED.names("command"):
        assert isinstance(LISTED.build("command", name), click.Command)
        assert LISTED.entry("command", name).summary


def test_the_description_of_a_method_cites_the_papers_that_its_parts_come_from() -> None:
    described = describe(LISTED, Selector("stgram_afpa", {"scorer": "gmm"}))
    assert isinstance(described, MethodDescription)
    cited = described.cites
    parts: list[tuple[Kind, str]] = [("featurizer", "logmel"), ("model", "stgram"), ("scorer", "gmm")]
    known = {part: LISTED.entry(part, name).cites for part, name in parts}
    assert cited == {part: paper for part, paper in known.items() if paper}
    assert cited["model"]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_resolves_on_its_datasets_with_every_preset_and_scorer(name: str) -> None:
    method = LISTED.method(name)
    assert {method.home, *method.on} <= set(LISTED.names("dataset"))
    assert set(method.reduced_presets) == {"small"} & set(method.presets)
    wishes: list[dict[str, str]] = [{}]
    wishes += [{"preset": preset} for preset in method.presets]
    wishes += [{"scorer": scorer} for scorer in LISTED.names("scorer")]
    for dataset in {method.home, *method.on}:
        card = LISTED.build("dataset", dataset)().card
        for wish in wishes:
            recipe = resolve(LISTED, Selector(name, wish), dataset=dataset)
            on_small_data = dataset in method.on and method.on[dataset].reduced
            assert recipe.reduced == (on_small_data or wish.get("preset") in method.reduced_presets)
            assert recipe.common.scope in card.scopes
