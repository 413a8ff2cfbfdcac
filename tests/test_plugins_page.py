"""The plugins shown in README and docs/plugins.md work as printed: their tests pass, their method is trained."""

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
_INSTALL = "-m pip --isolated install --quiet --no-index --no-deps --no-build-isolation --target"


def installed(page: str, folder: Path) -> dict[str, str]:
    """Install the files of a page as printed, without the network; return an environment that finds the package.

    The tests of the page, which a package does not install, are left in ``folder / "source"``.
    """
    source, target = folder / "source", folder / "installed"
    for match in _FILE.finditer((ROOT / page).read_text("utf-8")):
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


def auc(*words: str, env: dict[str, str], folder: Path) -> dict[str, float]:
    """Return the mean AUC of every method of a run with these words."""
    common = ["--cache", "cache", "--threads", "1", "--device", "cpu", "--json"]
    text = called("-m", "asdbench", "run", *words, *common, env=env, folder=folder)
    summary = decode(text.encode(), RunDocument).summary
    values = {method: averages["auc"] for method, averages in summary.items()}
    return {method: value for method, value in values.items() if value is not None}


def test_the_plugin_of_the_page_keeps_every_contract(tmp_path: Path) -> None:
    env = installed("docs/plugins.md", tmp_path)
    # Not beside the sources: the installed package is the one to test.
    quiet = ["-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "--import-mode=importlib"]
    output = called(*quiet, "source/test_hum.py", env=env, folder=tmp_path)
    assert re.search(r"\b2\d passed", output)
    assert "skipped" not in output


def test_the_method_of_the_page_conforms_on_its_own_dataset(tmp_path: Path) -> None:
    env = installed("docs/plugins.md", tmp_path)
    shown = called("-m", "asdbench", "conformance", "hum_classifier", env=env, folder=tmp_path)
    assert shown.startswith("method hum_classifier of plugin hum (hum 0.1), as on hum, plugin API 1\n")
    assert shown.endswith("\nit conforms\n")


def test_the_plugin_of_the_page_finds_the_worn_motors(tmp_path: Path) -> None:
    env = installed("docs/plugins.md", tmp_path)
    found = auc(
        "-p",
        "hum_classifier",
        "-p",
        "hum_classifier[scorer=negative_log_probability]",
        "-d",
        "hum",
        env=env,
        folder=tmp_path,
    )
    assert found["hum_classifier"] > 0.7
    assert set(found) == {"hum_classifier", "hum_classifier[scorer=negative_log_probability]"}


@pytest.mark.parametrize("word", ["docs/plugins.md", "README.md"])
def test_every_file_of_a_page_is_found(word: str) -> None:
    text = (ROOT / word).read_text("utf-8")
    python = len(re.findall(r"^```python$", text, re.MULTILINE))
    assert python == sum(match["name"].endswith(".py") for match in _FILE.finditer(text)) > 0


def test_the_method_of_the_readme_gives_a_row(tmp_path: Path) -> None:
    env = installed("README.md", tmp_path)
    tiny = "synthetic[machines=fan,ids=2,train_clips=6,test_clips=4,length_s=1]"
    assert 0 <= auc("-p", "mean_spectrum", "-d", tiny, env=env, folder=tmp_path)["mean_spectrum"] <= 1
