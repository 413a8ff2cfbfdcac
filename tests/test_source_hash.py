"""The hash of the code behind an entry: it changes with everything that the code imports, and with nothing else."""

from __future__ import annotations

import types
from pathlib import Path

import pytest

import asdbench
from asdbench import (
    Entry,
    PluginError,
    Registry,
    hookimpl,
    lazy,
)
from asdbench.core import fingerprints
from asdbench.core.fingerprints import file_hash_of, source_hash_of
from asdbench.plugin.registry import load_plugin

NET = "from hashed_package.losses import loss\n\n\nclass Net:\n    pass\n"
PACKAGE = {
    "__init__.py": "from asdbench import lazy\n\nDEPTH = 3\nlazy('hashed_package.models.net:Net')\n"
    "lazy('hashed_package.unused:Thing')\n",
    "models/__init__.py": "",
    "models/net.py": NET,
    "losses.py": "from . import shapes\n",
    "shapes.py": "from hashed_package.models import net\n",
    "unused.py": "import hashed_package.models.net\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stranger's package whose net imports losses, which import shapes, which import the net again."""
    folder = tmp_path / "hashed_package"
    for name, text in PACKAGE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def hash_of_net() -> str:
    entry = Entry(name="net", build=lazy("hashed_package.models.net:Net"), summary="for its files alone")
    registry = Registry()
    load_plugin(
        registry, "hashed", load=lambda: types.SimpleNamespace(asdbench_models=hookimpl(lambda: [entry]))
    )
    return registry.source_hash("model", "net")


def edit(file: Path) -> None:
    file.write_text(file.read_text() + "x = 1\n")


@pytest.mark.parametrize("name", ["models/net.py", "losses.py", "shapes.py"])
def test_the_source_hash_changes_with_every_module_that_is_imported_and_a_ring_of_imports_ends(
    package: Path, name: str
) -> None:
    before = hash_of_net()
    assert before == hash_of_net()
    edit(package / name)
    assert hash_of_net() != before


@pytest.mark.parametrize("name", ["unused.py", "__init__.py", "models/__init__.py", "new.py"])
def test_the_source_hash_stays_when_a_module_that_nothing_imports_is_edited(package: Path, name: str) -> None:
    (package / "new.py").write_text("")
    before = hash_of_net()
    edit(package / name)
    assert hash_of_net() == before


@pytest.mark.parametrize(
    "text",
    [
        "import hashed_package.losses as losses",
        "from hashed_package import losses",
        "from .. import losses",
        "from ..losses import (\n    loss,  # (the first)\n)",
        "from hashed_package.losses import *",
        "def late():\n    from hashed_package import losses",
        "try: import torch, hashed_package.losses\nexcept ImportError: pass",
        "lazy('hashed_package.losses:Loss')",
        "values.Lazy('hashed_package.losses:Loss')",
        "importlib.import_module('hashed_package.losses')",
        "import_module('..losses', __package__)",
    ],
)
def test_the_source_hash_follows_every_way_to_import(package: Path, text: str) -> None:
    (package / "models/net.py").write_text(text + "\n")
    before = hash_of_net()
    edit(package / "losses.py")
    assert hash_of_net() != before


@pytest.mark.parametrize("text", ["from hashed_package import DEPTH", "from .. import DEPTH"])
def test_a_package_counts_where_something_is_imported_from_it(package: Path, text: str) -> None:
    (package / "models/net.py").write_text(text + "\n")
    before = hash_of_net()
    edit(package / "__init__.py")
    assert hash_of_net() != before


def test_what_a_package_in_two_places_imports_counts(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (package / "__init__.py").unlink()
    other = tmp_path / "elsewhere" / "hashed_package" / "more"
    other.mkdir(parents=True)
    (other / "parts.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    (package / "models/net.py").write_text("from ..more import parts\n")
    before = hash_of_net()
    edit(other / "parts.py")
    assert hash_of_net() != before


def test_a_module_without_source_counts_by_its_content_and_one_without_a_file_by_its_name(
    package: Path,
) -> None:
    (package / "fast.abi3.so").write_bytes(b"\x7fELF one")
    (package / "models/net.py").write_text("from hashed_package import fast\nimport hashed_package.missing\n")
    before = hash_of_net()
    (package / "fast.abi3.so").write_bytes(b"\x7fELF two")
    assert hash_of_net() != before
    assert source_hash_of("sys") != source_hash_of("no_such_module")


def test_a_module_that_cannot_be_parsed_counts_by_its_content(package: Path) -> None:
    (package / "losses.py").write_text("print 'of another Python'\n")
    before = hash_of_net()
    edit(package / "losses.py")
    assert hash_of_net() != before


def test_what_decodes_counts_where_it_is_imported(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprints, "DECODING", {"decoding.read": "decoding.waves"})
    (tmp_path / "decoding").mkdir()
    for name in ("waves.py", "others.py"):
        (tmp_path / "decoding" / name).write_text("")
    (package / "models/net.py").write_text("from decoding import read\nimport decoding.others\n")
    before = hash_of_net()
    edit(tmp_path / "decoding" / "others.py")
    assert hash_of_net() == before
    edit(tmp_path / "decoding" / "waves.py")
    assert hash_of_net() != before


def test_datasets_that_read_waves_are_hashed_with_the_code_that_decodes_them() -> None:
    for name, module in fingerprints.DECODING.items():
        assert getattr(asdbench, name.removeprefix("asdbench.")).__module__ == module
    assert "asdbench.data.audio" in fingerprints._sources("asdbench_datasets.dcase.dcase2020")
    assert "asdbench.data.audio" not in fingerprints._sources("asdbench_datasets.robot.kuka")


def test_the_hash_of_a_file_is_that_of_one_module_or_of_a_whole_package(package: Path) -> None:
    losses, whole = file_hash_of("hashed_package.losses"), file_hash_of("hashed_package")
    edit(package / "shapes.py")
    assert file_hash_of("hashed_package.losses") == losses
    assert file_hash_of("hashed_package") != whole
    with pytest.raises(PluginError, match=r"module hashed_package\.missing has no file"):
        file_hash_of("hashed_package.missing")
