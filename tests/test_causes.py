"""Where the cause of a failure stands: the file and line of the plugin, first in the message."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny

from asdbench import Registry, Selector
from asdbench.plugin.causes import mentions, shown
from asdbench.plugin.registry import NotOffered, load_plugin

Write = Callable[[str], Registry]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a package ``murmur`` with the given ``sounds`` module, which its top level imports, and load all plugins."""

    def written(code: str) -> Registry:
        package = tmp_path / "murmur"
        package.mkdir()
        (package / "__init__.py").write_text("from murmur import sounds\n")
        (package / "sounds.py").write_text(code)
        monkeypatch.syspath_prepend(str(tmp_path))
        registry = tiny.registry()
        load_plugin(registry, "murmur", load=lambda: importlib.import_module("murmur"), module="murmur")
        return registry

    return written


def broken(registry: Registry) -> str:
    [plugin] = [plugin for plugin in registry.plugins if plugin.broken]
    return plugin.broken or ""


def test_the_cause_of_a_broken_plugin_has_file_and_line_and_comes_before_the_known_names(
    write: Write,
) -> None:
    registry = write("name = 'murmuring'\n\ndef check():\n    raise ValueError('too old')\n\ncheck()\n")
    cause = r"murmur \(unknown unknown\): ValueError: too old \(murmur/sounds.py, line 4\)"
    with pytest.raises(
        NotOffered, match=rf"^unknown method 'murmuring'; its plugin is not loaded: {cause} \(kno"
    ):
        registry.method("murmuring")
    with pytest.raises(NotOffered, match=rf"^unknown scorer 'qqqqqq'; not loaded: {cause} \(known: "):
        registry.entry("scorer", "qqqqqq")
    with pytest.raises(
        NotOffered, match=rf"^unknown method 'idn'; did you mean 'idnn'.*; not loaded: {cause}$"
    ):
        registry.method("idn")


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("def broken(:\n", "SyntaxError: invalid syntax (sounds.py, line 1)"),
        (
            "import math\nmath.sqrt(-1)\n",
            "ValueError: math domain error (murmur/sounds.py, line 2)",
        ),
        (
            "import pathlib\npathlib.Path('/no/such').read_text()\n",
            "FileNotFoundError: [Errno 2] No such file or directory: '/no/such' (murmur/sounds.py, line 2)",
        ),
        ("import no_such_library\n", "No module named 'no_such_library' (murmur/sounds.py, line 1)"),
        ("raise SystemExit(3)\n", "SystemExit: 3 (murmur/sounds.py, line 1)"),
    ],
)
def test_the_line_is_the_innermost_of_the_plugin_and_stands_once(code: str, cause: str, write: Write) -> None:
    assert broken(write(code)).endswith(cause)


def test_what_a_package_offers_is_read_from_its_source_alone(write: Write) -> None:
    write("raise ValueError('not now')\nEntry(name=\"murmuring\")\n")
    assert mentions("murmur", "murmuring")
    assert not mentions("murmur", "murmu")
    assert not mentions("no_such_package", "murmuring")
    assert not mentions("", "murmuring")


def test_a_place_is_shown_from_its_package_on() -> None:
    assert shown(("/home/hum/lib/hum/nets/a.py", 3), {"hum"}) == "hum/nets/a.py, line 3"
    assert shown(("/home/lib/hum.py", 7), {"hum"}) == "hum.py, line 7"


def test_the_table_of_a_run_names_the_line_where_a_job_failed(cache: Path, tmp_path: Path) -> None:
    document = tiny.go(tmp_path, Selector("toy", {"trouble": "raise"}), cache=cache)
    source = Path(tiny.__file__).with_name("toy_model.py").read_text().splitlines()
    line = 1 + next(k for k, text in enumerate(source) if "the toy broke" in text)
    cause = f"fit all: error: ValueError: the toy broke (toy_model.py, line {line})"
    assert document.failure_lines("toy[trouble=raise]")[0] == cause
    assert cause in tiny.table_of(document).splitlines()
    [fit] = [job for job in document.jobs if job.kind == "fit"]
    assert fit.message == "ValueError: the toy broke"
