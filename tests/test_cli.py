"""The command line: help with examples, what light commands show, exit statuses, JSON alone on request."""

from __future__ import annotations

import json
import logging
import shlex
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import msgspec
import pytest
import tiny

from asdbench import Entry, Registry, Selector, hookimpl, lazy
from asdbench.cli import COMMANDS, cli, main, status_of
from asdbench.data.card import CardDocument
from asdbench.errors import Interrupted
from asdbench.plugin.registry import load_plugin
from asdbench.runs.describe import MethodDescription, describe

Capture = pytest.CaptureFixture[str]
TINY = "synthetic[machines=fan,ids=1,train_clips=2,test_clips=1,length_s=1]"
"""Four clips of a second."""


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's settings out and the user's folders clean."""
    for name in ("ASDBENCH_CACHE", "ASDBENCH_DATA_ROOT", "ASDBENCH_OUT", "ASDBENCH_JOBS", "ASDBENCH_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def leaves(command: click.Command, *words: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command with the words that lead to it, groups included."""
    yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            if inner := command.get_command(context, name):
                yield from leaves(inner, *words, name)


ALL = dict(leaves(cli))


def test_every_shipped_command_is_there() -> None:
    assert {("run",), ("plugins",), ("describe",), ("datasets", "verify"), ("sys-info",)} <= set(ALL)


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_states_the_purpose_of_a_command_and_an_example_that_is_understood(
    words: tuple[str, ...], capsys: Capture
) -> None:
    assert status_of([*words, "--help"]) == 0
    shown = capsys.readouterr().out
    command = ALL[words]
    [example] = [line for line in (command.epilog or command.help or "").splitlines() if "Example: " in line]
    assert "Example: asdbench" in shown
    assert (command.help or "").splitlines()[0].split()[0] in shown
    given = shlex.split(example.partition("Example: asdbench")[2])
    known = max((names for names in ALL if given[: len(names)] == list(names)), key=len)
    ALL[known].make_context("example", given[len(known) :])  # raises on a word that is not understood


def test_help_lists_every_command_with_a_line(capsys: Capture) -> None:
    assert status_of(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown and summary in shown for name, (_, summary) in COMMANDS.items())


def test_the_version_is_the_distributions(capsys: Capture) -> None:
    assert status_of(["--version"]) == 0
    assert capsys.readouterr().out.startswith("asdbench, version 0.")


def described(*words: str, capsys: Capture) -> MethodDescription:
    """Return what ``asdbench describe --json`` prints of a method."""
    assert status_of(["describe", *words, "--json"]) == 0
    return msgspec.json.decode(capsys.readouterr().out, type=MethodDescription)


def card_of(dataset: str, *, capsys: Capture) -> CardDocument:
    """Return what ``asdbench datasets info --json`` prints."""
    assert status_of(["datasets", "info", dataset, "--json"]) == 0
    return msgspec.json.decode(capsys.readouterr().out, type=CardDocument)


def test_describe_gives_the_published_size_of_asd_afpa(capsys: Capture) -> None:
    method = described("stgram_afpa", "-d", "dcase2020", capsys=capsys)
    assert (method.parameters, method.classes) == (1_637_072, 41)
    assert (method.item_shape, method.feature_shape) == ([160_000], [128, 312])
    assert (method.method, method.dataset, method.reduced) == ("stgram_afpa", "dcase2020", False)
    assert method.flops_per_item > 1e9
    [heads] = [row for row in method.options if row.option == "heads"]
    assert (heads.value, heads.kind, heads.part) == (6, "int", "model")
    assert all(row.meaning for row in method.options)


def test_the_licence_of_a_method_is_that_of_its_distribution_or_not_stated() -> None:
    ours, toy = (describe(tiny.registry(), Selector(name)) for name in ("idnn", "toy"))
    assert (ours.licence, toy.licence) == ("MIT", "not stated")


def test_describe_shows_people_the_options_with_what_the_user_changed(capsys: Capture) -> None:
    assert status_of(["describe", "idnn[epochs=7,scorer=knn]", "-d", "synthetic"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split()[:2] == ["epochs", "7"] for line in lines)
    assert any(line.split()[:2] == ["scorer", "knn"] for line in lines)
    assert any(line.split() == ["reduced", "yes"] for line in lines)


@pytest.mark.parametrize(
    ("dataset", "shape"),
    [
        ("ur3_cobotops", [10, 19]),
        ("ur3_cobotops[window=20]", [20, 19]),  # no official counts: the card alone states it
        ("synthetic_robot", [30, 86]),
        ("synthetic_robot[bounds=action]", [30, 86]),
        ("kuka[window=50,bounds=action]", [50, 86]),
    ],
)
def test_describe_shows_shapes_of_data_without_claims_from_the_card_alone(
    dataset: str, shape: list[int], capsys: Capture
) -> None:
    method = described("robot_ae", "-d", dataset, capsys=capsys)
    assert (method.item_shape, method.classes, method.targets) == (shape, 1, [])
    assert method.parameters > 0


def test_describe_knows_a_table_by_its_absolute_path_alone(tmp_path: Path, capsys: Capture) -> None:
    table = tmp_path / "own.csv"
    table.write_text("a,b,c\n" + "1,2,3\n" * 40)
    assert described("pca", "-d", f"timeseries[path={table}]", capsys=capsys).item_shape == [30, 3]
    assert status_of(["describe", "pca", "-d", "timeseries[path=own.csv]"]) == 2
    message = capsys.readouterr().err
    assert (
        "the shape of the items of timeseries (so far [30, 0]) is known only once its data are read"
        in message
    )
    assert "give an absolute path, or leave out -d" in message


def test_classes_to_separate_are_named_by_describe_and_info(capsys: Capture) -> None:
    method = described("waspp", "-d", "synthetic_faces", capsys=capsys)
    for document in (method, card_of("synthetic_faces", capsys=capsys)):
        assert (document.classes, document.targets) == (1, ["negative", "positive", "surprise"])
    for words in (["describe", "waspp", "-d", "synthetic_faces"], ["datasets", "info", "synthetic_faces"]):
        assert status_of(words) == 0
        lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
        assert ["targets", "negative, positive, surprise"] in lines
        assert not any(line[:1] == ["classes"] for line in lines)


def test_data_without_classes_to_separate_have_no_line_of_targets(capsys: Capture) -> None:
    for words in (["describe", "idnn", "-d", "synthetic"], ["datasets", "info", "synthetic"]):
        assert status_of(words) == 0
        names = [
            line.split()[0] for line in capsys.readouterr().out.split("\noptions")[0].splitlines() if line
        ]
        assert "classes" in names
        assert "targets" not in names
        assert status_of([*words, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["targets"] == []


def test_datasets_list_names_every_dataset(capsys: Capture) -> None:
    assert status_of(["datasets", "list"]) == 0
    shown = capsys.readouterr().out
    assert status_of(["datasets", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"dcase2020", "folder", "synthetic"} <= {row["name"] for row in rows}
    assert all(row["name"] in shown and row["summary"] in shown for row in rows)


def test_datasets_info_shows_licence_citation_counts_and_archives(capsys: Capture) -> None:
    card = card_of("dcase2020", capsys=capsys)
    assert (card.classes, card.sample_rate, card.generated) == (41, 16_000, False)
    assert "CC BY-NC-SA 4.0" in card.licence
    assert "Koizumi" in card.citation
    assert card.archives
    assert all(len(archive.md5 or "") == 32 for archive in card.archives)
    assert status_of(["datasets", "info", "dcase2020[machines=fan]"]) == 0
    assert "item shape" in capsys.readouterr().out


def test_datasets_fetch_generates_a_generated_dataset_and_verify_finds_it(
    tmp_path: Path, capsys: Capture
) -> None:
    place = ["--cache", str(tmp_path / "cache"), "--data-root", str(tmp_path / "data")]
    assert status_of(["datasets", "fetch", TINY, *place]) == 0
    assert "synthetic is in " in capsys.readouterr().out
    assert status_of(["datasets", "verify", TINY, *place, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "complete": True,
        "items": 4,
        "expected": 4,
        "missing": [],
        "changed": [],
        "counts": [
            {"part": "train", "label": "normal", "items": 2},
            {"part": "test", "label": "anomaly", "items": 1},
            {"part": "test", "label": "normal", "items": 1},
        ],
        "recordings": None,
        "warnings": [],
        "damaged": [],
    }
    assert status_of(["datasets", "verify", TINY, *place]) == 0
    assert "synthetic: complete, 4 of 4 items" in capsys.readouterr().out


def test_datasets_verify_ends_with_1_and_lists_the_gaps_of_an_incomplete_release(
    tmp_path: Path, capsys: Capture
) -> None:
    clips = tmp_path / "dcase2020" / "dev_data" / "fan" / "train"
    clips.mkdir(parents=True)
    (clips / "normal_id_00_00000000.wav").touch()
    words = ["datasets", "verify", "dcase2020[machines=fan,train=dev]", "--data-root", str(tmp_path)]
    assert status_of(words) == 1
    assert "dcase2020: incomplete, 1 of " in capsys.readouterr().out
    assert status_of([*words, "--json"]) == 1
    verified = json.loads(capsys.readouterr().out)
    assert (verified["complete"], verified["items"]) == (False, 1)
    assert {"name": "fan/00 train", "found": 1, "expected": 911} in [
        gap | {"name": gap["name"].removesuffix(" normal")} for gap in verified["missing"]
    ]


def test_sys_info_shows_versions_hardware_and_folders(capsys: Capture) -> None:
    assert status_of(["sys-info", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["libraries"]["asdbench"].startswith("0.")
    assert shown["cores"] >= 1
    assert shown["memory_bytes"] > 2**28
    assert {"gpus", "commit", "data_root", "cache", "out"} <= set(shown)
    assert status_of(["sys-info"]) == 0
    assert "libraries" in capsys.readouterr().out


WRONG = {
    "no command": ("", "Usage: asdbench"),
    "an unknown command": ("describ idnn", "unknown command 'describ'; did you mean 'describe'? (known: "),
    "an unknown command of a group": ("datasets inf", "Did you mean 'info'?"),
    "an unknown option": ("describe idnn --jsn", "--json"),
    "a missing argument": ("describe", "Missing argument 'NAME'"),
    "a missing option": ("run -p idnn", "-d DATASET is missing; give -p METHOD -d DATASET"),
    "a preset and a method": ("run -p idnn --preset x/table1", "--preset already names the methods and the dataset"),
    "two presets": (
        "run --preset x/table1 --preset x/table2", "'--preset': x/table1 and x/table2 are given; give one of them"
    ),
    "an unknown preset": ("run --preset x/table1", "unknown preset 'x/table1'"),
    "words without a value": ("describe idnn[k]", "option 'k' is not of the form key=value"),
    "a comma without quotes": ("describe idnn[path=a,b]", 'put a value with a comma in double quotes, for example [pa'),
    "words without a key": ("describe idnn[=3]", "option '=3' is not of the form key=value"),
    "words that do not close": ("describe idnn[k=1", "not of the form NAME or NAME[key=value,...]"),
    "words without a name": ("describe [k=1]", "not of the form NAME or NAME[key=value,...]"),
    "one option with two values": ("describe idnn[lr=1,lr=2]", "option 'lr' is given twice, as 1 and as 2"),
    "an unknown method": ("describe idn", "unknown method 'idn'; did you mean 'idnn'?"),
    "an unknown method of a run": ("run -p idn -d synthetic", "unknown method 'idn'; did you mean 'idnn'?"),
    "an unknown dataset": ("datasets info dcase202", "did you mean 'dcase202"),
    "an unknown option of a method": ("describe idnn[epoch=3]", "idnn: unknown option 'epoch'; did you mean"),
    "an unknown option of a dataset": ("datasets info synthetic[id=3]", "unknown option 'id'; did you"),
    "a value out of range": (
        "describe idnn[epochs=-1]", "idnn[epochs=-1], model idnn: epochs=-1 is not a whole number >= 0",
    ),
    "a scorer's value out of range": (
        "run -p stgram_afpa[scorer=knn,k=0] -d synthetic",
        "stgram_afpa[k=0,scorer=knn], scorer knn: k=0 is not a whole number >= 1",
    ),
    "a dataset's value out of range": (
        "datasets info synthetic[difficulty=2]", "synthetic: difficulty=2 is not a number >= 0 and <= 1",
    ),
    "an unknown plugin left out": ("--no-plugin baseline plugins", "did you mean 'baselines'?"),
    "jobs out of range": ("run -p idnn -d synthetic -j 0", "0 is not in the range x>=1"),
    "jobs that are no number": ("run -p idnn -d synthetic -j x", "'x' is not a valid integer."),
    "a seed twice": (
        "run -p idnn -d synthetic --seed 1 --seed 2 --seed 1",
        "Invalid value for '--seed': 1 is given more than once; give each value once",
    ),
    "a seed below zero": ("run -p idnn -d synthetic --seed -1", "-1 is not in the range x>=0"),
    "no time at all": ("run -p idnn -d synthetic --timeout 0s", "'0s' is not longer than 0; use for example 90, 30s"),
    "one dataset twice": (
        "run -p idnn -d synthetic[ids=1,seed=2] -d synthetic[seed=2,ids=1]",
        "synthetic[ids=1,seed=2] is given twice; to repeat a run, give --seed several times instead",
    ),
    "an unknown dataset after a known one": (
        "run -p idnn -d synthetic -d synthetik", "unknown dataset 'synthetik'; did you mean 'synthetic'?",
    ),
    "a figure of no known format": ("run -p idnn -d synthetic --figure auc.gif", "not as 'auc.gif'"),
    "quotes that do not close": ('describe \'idnn[weights="a,b]\'', "not of the form NAME or NAME[key=value,...]"),
    "a time that is none": ("run -p idnn -d synthetic --timeout soon", "'soon' is not a duration; use for example 90"),
    "a licence not accepted": ("datasets fetch dcase2020", "--accept-licence"),
    "classes that are not known": ("describe idnn -d folder", "the classes of folder are known only once its data are"),
    "no data": ("datasets verify dcase2020 --data-root .", "no clips of fan"),
}  # fmt: skip


@pytest.mark.parametrize(("line", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_command_line_ends_with_2_and_states_what_would_be_right(
    line: str, message: str, capsys: Capture
) -> None:
    assert status_of(shlex.split(line)) == 2
    output = capsys.readouterr()
    assert message in output.err
    assert output.out == ""


@pytest.mark.parametrize(
    ("words", "name", "options"),
    [
        ("idnn", "idnn", {}),
        ("idnn[]", "idnn", {}),
        (" idnn[ epochs = 3 , lr=1e-3,] ", "idnn", {"epochs": "3", "lr": "1e-3"}),
        ("folder[path=/a=b/c d]", "folder", {"path": "/a=b/c d"}),
        ("x[scorer.k=1,scorer.k=1]", "x", {"scorer.k": "1"}),
        ('folder[path="a,b]c [d]=e", channel=1]', "folder", {"path": "a,b]c [d]=e", "channel": "1"}),
        ('folder[path= "" ]', "folder", {"path": ""}),
        ("folder[path=it's here]", "folder", {"path": "it's here"}),
    ],
)
def test_a_selector_is_a_name_with_options(words: str, name: str, options: dict[str, str]) -> None:
    context = ALL[("describe",)].make_context("describe", [words])
    assert context.params["method"] == Selector(name, options)


def test_main_exits_with_the_status() -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["describe", "idn"])


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Interrupted("everything finished is kept")])
def test_an_interruption_ends_with_130(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def interrupted() -> None:
        raise error

    monkeypatch.setattr("asdbench.cli.catalogue.load_registry", interrupted)
    assert status_of(["plugins"]) == 130
    assert (str(error) or "interrupted") in capsys.readouterr().err


Offer = Callable[..., None]


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Offer commands by name as a plugin does; one that is None is a path to nothing."""

    def offered(**commands: click.Command | None) -> None:
        module = types.ModuleType("strange_commands")
        vars(module).update({name: command for name, command in commands.items() if command})
        monkeypatch.setitem(sys.modules, "strange_commands", module)
        entries = [
            Entry(name=name, build=lazy(f"strange_commands:{name}"), summary=f"Do {name}.")
            for name in commands
        ]
        plugin = types.SimpleNamespace(asdbench_commands=hookimpl(lambda: entries))
        registry = Registry()
        load_plugin(registry, "strange", load=lambda: plugin)
        monkeypatch.setattr("asdbench.cli.load_registry", lambda: registry)

    return offered


def test_a_plugins_command_is_listed_and_run_and_its_status_is_ours(offer: Offer, capsys: Capture) -> None:
    @click.command()
    @click.argument("name")
    def greet(name: str) -> int:
        click.echo(f"hello {name}")
        return 3

    offer(greet=greet)
    assert status_of(["--help"]) == 0
    assert any(line.split() == ["greet", "Do", "greet."] for line in capsys.readouterr().out.splitlines())
    assert status_of(["greet", "fan"]) == 3
    assert capsys.readouterr().out == "hello fan\n"


def test_a_plugins_command_that_cannot_be_imported_ends_with_4(offer: Offer, capsys: Capture) -> None:
    offer(lost=None)
    assert status_of(["lost"]) == 4
    assert "command 'lost' of plugin strange (unknown unknown) cannot be imported" in capsys.readouterr().err


def test_a_broken_plugin_leaves_other_commands_working(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    registry = Registry()
    with caplog.at_level(logging.WARNING):
        load_plugin(registry, "gone", load=lambda: 1 / 0)
    monkeypatch.setattr("asdbench.cli.catalogue.load_registry", lambda: registry)
    assert status_of(["plugins"]) == 0
    assert "gone (unknown unknown)\n  broken: ZeroDivisionError: division by zero" in capsys.readouterr().out
    assert caplog.messages == [
        "plugin gone (unknown unknown) is skipped: ZeroDivisionError: division by zero"
    ]


JSON: dict[str, list[str]] = {
    "plugins": ["plugins"],
    "describe": ["describe", "idnn", "-d", "synthetic"],
    "datasets list": ["datasets", "list"],
    "datasets info": ["datasets", "info", "synthetic"],
    "datasets verify": ["datasets", "verify", TINY, "--cache", "cache"],
    "sys-info": ["sys-info"],
    "run --dry-run": ["run", "-p", "idnn", "-d", TINY, "--cache", "cache", "--dry-run"],
}


@pytest.mark.parametrize("words", JSON.values(), ids=JSON.keys())
def test_json_is_one_document_and_nothing_else(words: list[str], capsys: Capture) -> None:
    assert status_of([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
