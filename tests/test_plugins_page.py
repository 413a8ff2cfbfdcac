"""The plugins shown in README and in the pages about plugins work as printed: their tests pass, their method is trained."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from asdbench import RunDocument
from asdbench.results.record import decode

ROOT = Path(__file__).parents[1]
PLACES = [ROOT / part for part in ("harness", "plugins", "datasets", "leaderboards")]
_FILE = re.compile(r"```(?:python|toml)\n# (?P<name>[\w/.]+)\n(?P<text>.*?)```", re.DOTALL)
GUIDE = tuple(
    f"docs/{name}.md" for name in ("plugins", "add-method", "add-scorer", "add-dataset", "add-metric-set")
)
"""The pages that show ``hum``, a file in each block."""
_INSTALL = "-m pip --isolated install --quiet --no-index --no-deps --no-build-isolation --target"


def installed(*shown: str, folder: Path) -> dict[str, str]:
    """Install the files of some pages as printed, without the network; return an environment that finds the package.

    The tests of the pages, which a package does not install, are left in ``folder / "source"``.
    """
    source, target = folder / "source", folder / "installed"
    text = "\n".join((ROOT / page).read_text("utf-8") for page in shown)
    for match in _FILE.finditer(text):
        file = source / match["name"]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(match["text"], "utf-8")
    called(*_INSTALL.split(), str(target), str(source), env=dict(os.environ), folder=folder)
    path = os.pathsep.join(map(str, [target, *PLACES]))
    return os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}


def called(*words: str, env: dict[str, str], folder: Path) -> str:
    """Run Python with these words; return its standard output."""
    done = subprocess.run(
        [sys.executable, *words], env=env, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def summary(*words: str, env: dict[str, str], folder: Path) -> dict[str, dict[str, float | None]]:
    """Return the means of every method of a run with these words, by metric."""
    common = ["--cache", "cache", "--threads", "1", "--device", "cpu", "--json"]
    text = called("-m", "asdbench", "run", *words, *common, env=env, folder=folder)
    return {method: dict(means) for method, means in decode(text.encode(), RunDocument).summary.items()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the plugin of the pages is installed."""
    return tmp_path_factory.mktemp("hum")


@pytest.fixture(scope="module")
def env(place: Path) -> dict[str, str]:
    """An environment that finds it."""
    return installed(*GUIDE, folder=place)


def test_the_plugin_of_the_pages_keeps_every_contract(env: dict[str, str], place: Path) -> None:
    # Not beside the sources: the installed package is the one to test.
    quiet = ["-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "--import-mode=importlib"]
    output = called(*quiet, "source/test_hum.py", "source/test_hits.py", env=env, folder=place)
    assert re.search(r"\b2\d passed", output)
    assert "skipped" not in output


def test_the_method_of_the_pages_conforms_on_its_own_dataset(env: dict[str, str], place: Path) -> None:
    shown = called("-m", "asdbench", "conformance", "hum_classifier", env=env, folder=place)
    assert shown.startswith("method hum_classifier of plugin hum (hum 0.1), as on hum, plugin API 1\n")
    assert shown.endswith("\nit conforms\n")


def test_the_plugin_of_the_pages_finds_the_worn_motors(env: dict[str, str], place: Path) -> None:
    methods = ("hum_classifier", "hum_classifier[scorer=negative_log_probability]")
    words = [word for method in methods for word in ("-p", method)]
    found = summary(*words, "-d", "hum", env=env, folder=place)
    assert found["hum_classifier"]["auc"] > 0.7  # type: ignore[operator]
    assert set(found) == set(methods)
    [shares] = summary("-p", "hum_classifier", "-d", "hum[metrics=hits]", env=env, folder=place).values()
    assert set(shares) == {"hits"}
    assert 0.3 < shares["hits"] <= 1  # type: ignore[operator]


@pytest.mark.parametrize("word", [*GUIDE, "README.md"])
def test_every_file_of_a_page_is_found(word: str) -> None:
    text = (ROOT / word).read_text("utf-8")
    python = len(re.findall(r"^```python$", text, re.MULTILINE))
    assert python == sum(match["name"].endswith(".py") for match in _FILE.finditer(text)) > 0


def test_the_method_of_the_readme_gives_a_row(tmp_path: Path) -> None:
    env = installed("README.md", folder=tmp_path)
    tiny = "synthetic[machines=fan,ids=2,train_clips=6,test_clips=4,length_s=1]"
    found = summary("-p", "mean_spectrum", "-d", tiny, env=env, folder=tmp_path)
    assert 0 <= found["mean_spectrum"]["auc"] <= 1  # type: ignore[operator]
