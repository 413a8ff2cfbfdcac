"""docs/reproduce.md: the plugin that it shows offers a preset and printed values."""

from __future__ import annotations

import importlib
import itertools
from pathlib import Path

import pages
import pytest

from asdbench import Printed, load_registry
from asdbench.plugin.registry import Plugin

PAGE = "docs/reproduce.md"


def test_the_plugin_of_the_page_offers_a_preset_and_printed_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages.write_files(pages.read(PAGE), tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    registry = load_registry()
    registry.add(Plugin(name="my_paper"), importlib.import_module("my_paper"))
    [run] = registry.preset("my_paper/table1").runs
    assert [method.name for method in run.methods] == ["idnn", "stgram_mfn"]
    assert run.dataset.name in registry.names("dataset")
    added = [value for value in registry.printed() if value.paper == "my_paper"]
    assert len(added) == 2
    assert all(isinstance(value, Printed) for value in added)
    assert {value.groups["machine"]: value.value for value in added} == {"fan": 0.6771, "pump": 0.7376}


def test_every_preset_that_the_page_names_is_offered() -> None:
    words = [word for line in pages.commands(pages.read(PAGE)) for word in line]
    named = {word for before, word in itertools.pairwise(words) if before == "--preset"}
    assert named
    assert named <= set(load_registry().names("preset"))
