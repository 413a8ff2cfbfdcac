"""``asdbench describe`` of anything but methods, and requests that are refused before any data are read."""

from __future__ import annotations

import json
import types
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import soundfile
import tiny

from asdbench import Config, ConfigError, Method, PluginError, Registry, Selector, hookimpl
from asdbench.cli import status_of
from asdbench.core.options import options_of
from asdbench.plugin.registry import Plugin
from asdbench.recipes.remembered import resolve_any
from asdbench.recipes.resolve import resolve
from asdbench.runs.plan import plan_run

Capture = pytest.CaptureFixture[str]
SIZE = "machines=fan,ids=1,train_clips=2,test_clips=1,length_s=1"


def described(*words: str, capsys: Capture) -> dict[str, Any]:
    """Return what ``asdbench describe --json`` prints."""
    assert status_of(["describe", *words, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize(
    ("words", "kind", "option"),
    [
        (["knn[k=3]"], "scorer", {"part": "scorer", "option": "k", "value": 3, "kind": "int"}),
        (["folder"], "dataset", {"part": "dataset", "option": "path", "value": "", "kind": "str"}),
        (["synthetic"], "dataset",
         {"part": "dataset", "option": "machines", "value": [], "kind": "list of str | str"}),
        (["logmel"], "featurizer", {"part": "featurizer", "option": "n_mels", "value": 128, "kind": "int"}),
        (["idnn", "--kind", "model"], "model", {"part": "model", "option": "epochs", "value": 100, "kind": "int"}),
    ],
)  # fmt: skip
def test_whatever_is_no_method_is_described_by_its_options(
    words: list[str], kind: str, option: dict[str, Any], capsys: Capture
) -> None:
    shown = described(*words, capsys=capsys)
    name = words[0].partition("[")[0]
    assert (shown["kind"], shown["name"], shown["licence"]) == (kind, name, "MIT")
    [found] = [row for row in shown["options"] if row["option"] == option["option"]]
    assert found.pop("meaning")
    assert found == option
    assert status_of(["describe", *words]) == 0
    text = capsys.readouterr().out
    assert f"\noptions, for {name}[option=value]:\n" in text
    assert f"({kind}: {option['kind']})" in text


def test_the_card_of_a_dataset_lists_its_options_and_nothing_that_is_unknown(capsys: Capture) -> None:
    assert status_of(["datasets", "info", "folder"]) == 0
    text = capsys.readouterr().out
    assert "\noptions, for folder[option=value]:\n" in text
    assert any(line.split()[:2] == ["sample_rate", "none"] for line in text.splitlines())
    assert not [line for line in text.splitlines() if line.startswith(("items", "item shape"))]
    assert status_of(["datasets", "info", "folder[channel=1]", "--json"]) == 0
    options = {row["option"]: row["value"] for row in json.loads(capsys.readouterr().out)["options"]}
    assert options["channel"] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["knn", "-d", "synthetic"], "knn is a scorer, which is described without a dataset; leave out -d"),
        (["knn[k=0]"], "knn: k=0 is not a whole number >= 1"),
        (["knn", "--kind", "model"], "unknown model 'knn'"),
        (["idnn[scope=machines]"], "unknown scope 'machines'; did you mean 'machine'?"),
        (["encoder_knn"], "encoder='' is not a file; give the path of a TorchScript encoder"),
    ],
)
def test_a_wrong_description_ends_with_2(words: list[str], message: str, capsys: Capture) -> None:
    assert status_of(["describe", *words]) == 2
    assert message in capsys.readouterr().err


# Requests that are refused before any data are read.


@pytest.mark.parametrize(
    ("method", "dataset", "message"),
    [
        ("idnn[scope=machines]", f"synthetic[{SIZE}]", r"idnn\[scope=machines\] on synthetic: unknown scope"),
        ("idnn", f"synthetic[{SIZE},protocol=loso,by=sections]", r"by=sections: unknown column 'sections'; did"),
        ("parallel[members=idnn+encoder_knn]", f"synthetic[{SIZE}]", "encoder_knn has held=0"),
        ("encoder_knn", f"synthetic[{SIZE}]", "encoder_knn needs encoder: give the path of a TorchScript encoder"),
    ],
)  # fmt: skip
def test_what_the_card_alone_refuses_is_refused_before_data_are_generated_or_hashed(
    method: str, dataset: str, message: str, tmp_path: Path
) -> None:
    request = tiny.request(
        tmp_path, Selector.parse(method), cache=tmp_path / "cache", dataset=Selector.parse(dataset)
    )
    seen = tiny.Silent()
    with pytest.raises(ConfigError, match=message):
        plan_run(request, tiny.registry(), observer=seen)
    assert seen.seen == []
    assert not list(tmp_path.glob("cache/generated/*"))


def test_a_folder_of_recordings_is_not_hashed_for_a_column_that_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "saw" / "train").mkdir(parents=True)
    soundfile.write(tmp_path / "saw" / "train" / "1.wav", np.zeros(100), 16000)
    words = f'folder[path="{tmp_path / "saw"}",protocol=loso,by=day]'
    request = tiny.request(
        tmp_path, Selector("idnn"), cache=tmp_path / "cache", dataset=Selector.parse(words)
    )
    seen = tiny.Silent()
    with pytest.raises(ConfigError, match="by=day: unknown column 'day'"):
        plan_run(request, tiny.registry(), observer=seen)
    assert seen.seen == []


def test_a_method_with_an_unknown_part_is_its_plugins_fault(tmp_path: Path) -> None:
    method = Method(name="odd", title="odd", paper="none", featurizer="logmell", model="idnn", scorer="knn")
    registry: Registry = tiny.registry()
    registry.add(Plugin(name="strange"), types.SimpleNamespace(asdbench_methods=hookimpl(lambda: [method])))
    message = r"method 'odd' of plugin strange \(unknown unknown\) names an unknown featurizer 'logmell'"
    with pytest.raises(PluginError, match=message):
        resolve(registry, Selector("odd"), dataset="synthetic")
    with pytest.raises(PluginError, match=message):
        resolve_any(registry, Selector("odd"), dataset="synthetic", cache=tmp_path)


def test_an_unknown_scorer_of_the_user_is_a_usage_error(capsys: Capture) -> None:
    assert status_of(["describe", "idnn[scorer=knnn]"]) == 2
    error = capsys.readouterr().err
    assert "unknown scorer 'knnn'; did you mean 'knn'?" in error
    assert "of plugin" not in error


# The options that choose a protocol, and presets.


def test_a_method_is_described_on_a_protocol_of_any_dataset(capsys: Capture) -> None:
    shown = described(
        "stgram_mfn[preset=dcase2022]", "-d", "synthetic[protocol=loso,by=machine]", capsys=capsys
    )
    assert shown["classes"] == 12  # of 15: all sections of one of the five machine types are left out
    chosen = {row["option"]: (row["value"], row["kind"]) for row in shown["dataset_options"]}
    assert chosen == {
        "protocol": ("loso", "loso | none"),
        "by": ("machine", "machine | section | part | none"),
    }
    [preset] = [row for row in shown["options"] if row["option"] == "preset"]
    assert preset["value"] == "dcase2022"
    assert "cosine_old" in preset["kind"].split(" | ")
    assert status_of(["describe", "idnn", "-d", "synthetic"]) == 0
    text = capsys.readouterr().out
    heading = text.index("\noptions, for -d synthetic[option=value]:\n  protocol ")
    assert "  by                   none" in text[heading:]
    assert text.endswith("\n  and those that `asdbench describe synthetic --kind dataset` lists\n")
    assert "preset" not in text  # it has none
    assert status_of(["describe", "idnn", "-d", "synthetic[protocol=loso,by=colour]"]) == 2
    assert "by=colour: unknown column 'colour' (known: machine, part, section)" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["describe", "synthetic"], ["datasets", "info", "synthetic"]])
def test_a_dataset_lists_its_protocol_and_lists_of_values_as_people_write_them(
    words: list[str], capsys: Capture
) -> None:
    assert status_of([*words[:-1], "synthetic[machines=fan+pump,protocol=loso,by=section]", "--json"]) == 0
    rows = {row["option"]: row for row in json.loads(capsys.readouterr().out)["options"]}
    assert (rows["protocol"]["value"], rows["by"]["value"]) == ("loso", "section")
    assert rows["machines"]["kind"] == "list of str | str"
    assert status_of([*words[:-1], "synthetic[machines=fan+pump]"]) == 0
    text = capsys.readouterr().out
    assert "  machines             fan+pump " in text
    assert "Ellipsis" not in text


def test_types_of_options_are_named_for_people() -> None:
    class Odd(Config, frozen=True):
        sizes: tuple[int, ...] = ()
        window: tuple[int, float] = (1, 2.0)
        weights: dict[str, float] = {}
        choice: Literal["a", "b"] | None = None

    rows = options_of("model", Odd, values={"sizes": [], "window": [], "weights": {}, "choice": None})
    assert [row.kind for row in rows] == ["list of int", "(int, float)", "str to float", "a | b | none"]
