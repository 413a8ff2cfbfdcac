"""Mistakes of a plugin's author: each is named with its plugin, and costs nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import broken_plugin
import numpy as np
import pytest
import tiny

from asdbench import ConfigError, DataError, PluginError, Registry, RunDocument, Selector
from asdbench.cli import status_of
from asdbench.detector.detector import segments_fault, undeclared_segments
from asdbench.jobs.probe import depends_on_batch
from asdbench.plugin.registry import NotOffered, Plugin, load_plugin
from asdbench.recipes.resolve import resolve, resolve_ensemble
from asdbench.results.history import list_runs
from asdbench.results.plots import draw
from asdbench.results.record import read_run
from asdbench.runs.describe import describe
from asdbench.runs.plan import check_preset
from asdbench.runs.run import run

QUITTERS = {
    "quits": "import sys\nsys.exit(5)\n",
    "quits_later": """
from asdbench import Entry, hookimpl, lazy

@hookimpl
def asdbench_commands():
    return [Entry(name="leave", build=lazy("quits:command"), summary="Leave.")]
""",
}
OWNER = r"of plugin broken \(unknown unknown\)"


@pytest.fixture
def registry() -> Registry:
    """Everything that is installed, and the mistakes."""
    registry = tiny.registry()
    registry.add(Plugin(name="broken"), broken_plugin)
    return registry


@pytest.fixture
def quitter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a plugin that exits when it is imported, and one that exits when its command is."""
    for name, code in QUITTERS.items():
        metadata = tmp_path / f"{name}-1.2.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (metadata / "entry_points.txt").write_text(f"[asdbench.plugins]\n{name} = {name}\n")
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))


def go(folder: Path, *methods: str, cache: Path, registry: Registry) -> RunDocument:
    request = tiny.request(folder, *map(Selector.parse, methods), cache=cache)
    return run(request, registry, observer=tiny.Silent())


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("without_fit", f"model 'without_fit' {OWNER} must define fit: broken_plugin:WithoutFit does not"),
        ("without_anything", f"model 'without_anything' {OWNER} must define fit and outputs"),
        ("empty_featurizer", f"featurizer 'empty_featurizer' {OWNER} must define forward"),
        ("empty_scorer", f"scorer 'empty_scorer' {OWNER} must define on and fit and score"),
        (
            "unlearning",
            "must define fit: broken_plugin:Unlearning does not, and has not set learns = False",
        ),
        ("foreign", f"model 'foreign' {OWNER} is no model: .*Foreign'> has no Config that inherits"),
        ("lost_model", f"method 'lost_model' {OWNER} names an unknown model 'no_such_model'"),
        ("lost_scorer", f"method 'lost_scorer' {OWNER} names an unknown scorer 'no_such_scorer'"),
    ],
)
def test_what_a_method_lacks_is_found_before_anything_is_run(
    method: str, message: str, registry: Registry, cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(PluginError, match=message) as found:
        go(tmp_path, method, cache=cache, registry=registry)
    assert not isinstance(found.value, NotOffered)  # which would be the user's mistake
    with pytest.raises(PluginError, match=message):
        resolve(registry, Selector(method), dataset="synthetic")
    assert not (tmp_path / "models").exists()


def test_a_part_that_the_user_names_wrongly_is_the_users_mistake(registry: Registry) -> None:
    with pytest.raises(NotOffered, match="unknown scorer 'no_such_scorer'"):
        resolve(registry, Selector("untrained", {"scorer": "no_such_scorer"}), dataset="synthetic")


def test_an_ensembles_unknown_member_is_its_plugins_mistake_unless_the_user_named_it(
    registry: Registry,
) -> None:
    message = f"ensemble 'with_a_stranger' {OWNER} names an unknown method 'no_such_method'"
    with pytest.raises(PluginError, match=message):
        resolve_ensemble(registry, Selector("with_a_stranger"), dataset="synthetic")
    chosen = Selector("with_a_stranger", {"members": "idnn+stranger"})
    with pytest.raises(NotOffered, match="unknown method 'stranger'"):
        resolve_ensemble(registry, chosen, dataset="synthetic")


def test_a_configuration_that_fails_is_a_mistake_of_the_plugin(registry: Registry) -> None:
    message = (
        r"dividing, scorer dividing: Dividing failed: ZeroDivisionError: division by zero "
        r"\(broken_plugin.py, line \d+\)"
    )
    with pytest.raises(PluginError, match=message):
        resolve(registry, Selector("dividing"), dataset="synthetic")
    with pytest.raises(ConfigError, match="unknown option 'epochs'"):
        resolve(registry, Selector("untrained", {"epochs": "1"}), dataset="synthetic")


def test_a_default_out_of_its_own_range_is_a_mistake_of_the_plugin(registry: Registry) -> None:
    message = (
        r"^outside, scorer outside: strength=-1.0 is not a number > 0; this is the default in Outside "
        r"\(broken_plugin\)$"
    )
    with pytest.raises(PluginError, match=message):
        resolve(registry, Selector("outside"), dataset="synthetic")
    assert resolve(registry, Selector("outside", {"strength": "2"}), dataset="synthetic").scorer.options == {
        "on": "embedding",
        "strength": 2.0,
    }


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (
            "misspelt",
            rf"^method 'misspelt' {OWNER} is wrong in its defaults: misspelt: unknown option 'n_mel'; did you mean",
        ),
        ("needy", "in its defaults: needy: unknown option 'n_mel'"),
        ("small", "in its defaults: small, featurizer logmel: n_mels=0 is not a whole number >= 1"),
        ("small[reg=2.0]", r"in its defaults: small, featurizer logmel: n_mels=0"),
        ("misplaced[reg=2.0]", r"in its on\['synthetic'\]: misplaced: unknown option 'epoch'"),
        ("misfitting", r"in its units\['fan'\]: misfitting, scorer mahalanobis: reg=-1 is not a number"),
        ("misfitting[preset=deep]", r"in its units\['fan'\]: misfitting.*, scorer mahalanobis: reg=-1"),
        ("misnamed[preset=deep]", r"in its presets\['deep'\]: misnamed: unknown option 'depth'"),
    ],
)
def test_a_wrong_option_of_a_methods_own_is_its_plugins_mistake(
    method: str, message: str, registry: Registry
) -> None:
    with pytest.raises(PluginError, match=message):
        resolve(registry, Selector.parse(method), dataset="synthetic")


@pytest.mark.parametrize("method", ["misnamed[preset=depe]", "misnamed[reg=-1]", "misnamed[depth=4]"])
def test_a_wrong_option_of_the_users_stays_the_users_mistake(method: str, registry: Registry) -> None:
    with pytest.raises(ConfigError, match=r"^misnamed"):
        resolve(registry, Selector.parse(method), dataset="synthetic")


def test_wrong_options_in_an_ensemble_or_a_preset_are_their_plugins_mistake(
    registry: Registry, cache: Path
) -> None:
    message = f"ensemble 'with_an_option' {OWNER} is wrong: idnn: unknown option 'epoch'"
    with pytest.raises(PluginError, match=message):
        resolve_ensemble(registry, Selector("with_an_option"), dataset="synthetic")
    for name, option in {
        "broken/data": "synthetic: unknown option 'id'",
        "broken/method": "idnn: unknown",
    }.items():
        with pytest.raises(PluginError, match=f"preset '{name}' {OWNER} is wrong: {option}"):
            check_preset(name, registry, cache=cache)


def test_a_broken_method_costs_the_others_of_its_run_nothing_and_the_command_ends_with_4(
    registry: Registry,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    methods = ("misspelt", "untrained", "flat", "with_an_option")
    document = go(tmp_path, *methods, cache=cache, registry=registry)
    assert list(document.methods) == ["untrained"]
    assert document.summary["untrained"]["auc"] is not None
    assert list(document.refused) == ["misspelt", "with_an_option", "flat"]
    assert "unknown option 'n_mel'" in document.refused["misspelt"]
    assert "output 'embedding' must be" in document.refused["flat"]
    text = tiny.table_of(document)
    assert "not run: misspelt: method 'misspelt' of plugin broken" in text
    assert [line.state for line in list_runs(tmp_path)] == ["3 methods not run"]
    with pytest.raises(PluginError, match=r"n_mel'(.|\n)*output 'embedding' must be"):
        go(tmp_path, "misspelt", "flat", cache=cache, registry=registry)
    monkeypatch.setattr("asdbench.cli.run.load_registry", lambda: registry)
    words = ["run", "-p", "untrained", "-p", "misspelt", "-d", str(tiny.DATASET)]
    folders = ["--out", str(tmp_path), "--cache", str(cache), "--data-root", str(tmp_path)]
    for more in (["--dry-run"], ["--json"]):
        assert status_of([*words, *folders, *more]) == 4
        shown = capsys.readouterr()
        assert "not run: misspelt: method 'misspelt' of plugin broken" in shown.err
        assert "untrained" in shown.out
    assert list(json.loads(shown.out)["refused"]) == ["misspelt"]


def test_a_part_that_cannot_be_built_or_called_fails_its_own_jobs_alone(
    registry: Registry, cache: Path, tmp_path: Path
) -> None:
    messages = {
        "without_info": "broken_plugin:WithoutInfo must be built with (config, info), but its __init__ takes (config)",
        "long_featurizer": "broken_plugin:LongFeaturizer must be built with (config, info), but its __init__ takes "
        "(config, info, seed)",
        "quitting": "SystemExit: 5",
        "prying": "AttributeError: 'Items' object has no attribute 'labels'",
        "without_held": "TypeError: WithoutHeld.fit() takes 2 positional arguments but 4 were given",
    }
    document = go(tmp_path, *messages, "untrained", cache=cache, registry=registry)
    jobs = {(job.method, job.kind): job for job in document.jobs}
    for method, message in messages.items():
        fit = jobs[method, "fit"]
        assert (fit.status, fit.message) == ("error", message)
        assert jobs[method, "score"].status == "blocked"
        assert document.methods[method].ungraded == "jobs failed"
    assert jobs["untrained", "score"].status == "ok"
    assert document.summary["untrained"]["auc"] is not None


@pytest.mark.usefixtures("quitter")
def test_a_plugin_that_exits_is_skipped_and_named_and_no_command_exits_with_it(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert status_of(["--help"]) == 0
    assert "Show versions, hardware and folders." in capsys.readouterr().out
    assert "plugin quits (quits 1.2) is skipped: SystemExit: 5 (quits.py, line 2)" in caplog.messages
    assert status_of(["plugins", "--json"]) == 0
    plugins = {row["plugin"]: row["broken"] for row in json.loads(capsys.readouterr().out)}
    assert plugins["quits"] == "SystemExit: 5 (quits.py, line 2)"
    assert plugins["quits_later"] is None
    assert status_of(["leave"]) == 4
    message = "command 'leave' of plugin quits_later (quits_later 1.2) cannot be imported from quits:command"
    assert f"{message}: SystemExit: 5" in capsys.readouterr().err


def test_an_interruption_while_a_plugin_is_imported_is_the_users() -> None:
    def load() -> object:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_plugin(Registry(), "slow", load=load)


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        ("card", r"dataset 'troubled' cannot give its card: LookupError: no card \(broken_plugin.py, line "),
        ("index", "dataset 'troubled' cannot list its items under .*: LookupError: no index"),
        ("read", "dataset 'troubled' cannot read item under .*: LookupError: no read"),
        ("folds", "dataset 'troubled' cannot divide its items into folds: LookupError: no folds"),
    ],
)
def test_a_dataset_that_fails_is_named_with_what_it_was_to_do(
    trouble: str, message: str, registry: Registry, cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "item").write_bytes(b"")
    dataset = Selector("troubled", {"trouble": trouble})
    request = tiny.request(tmp_path, Selector("untrained"), cache=cache, dataset=dataset)
    with pytest.raises(PluginError, match=message):
        run(request, registry, observer=tiny.Silent())


def test_a_file_that_a_dataset_cannot_read_is_no_mistake_of_its_plugin(
    registry: Registry, cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "item").write_bytes(b"")
    dataset = Selector("troubled", {"trouble": "file"})
    request = tiny.request(tmp_path, Selector("untrained"), cache=cache, dataset=dataset)
    with pytest.raises(DataError, match=r"cannot read item under .*: no such tape"):
        run(request, registry, observer=tiny.Silent())


@pytest.mark.parametrize(
    ("method", "cause"),
    [("quitting", "SystemExit: 5"), ("without_info", "broken_plugin:WithoutInfo must be built with")],
)
def test_a_method_that_cannot_be_built_cannot_be_described(
    method: str, cause: str, registry: Registry
) -> None:
    with pytest.raises(PluginError, match=cause):
        describe(registry, Selector(method), dataset=Selector("synthetic"))


def test_a_figure_that_fails_is_named_and_the_others_are_drawn(
    finished: tuple[Path, RunDocument], registry: Registry, tmp_path: Path
) -> None:
    message = r"figure 'absent' of plugin broken \(unknown unknown\) failed: AttributeError: .*no_such_thing"
    with pytest.raises(PluginError, match=message):
        draw(registry, read_run(finished[0], "latest"), to=tmp_path)
    assert {"results.png", "roc.png", "scores.png"} <= {file.name for file in tmp_path.iterdir()}


def test_scores_that_depend_on_the_batch_are_marked_and_those_of_honest_methods_are_not(
    registry: Registry, cache: Path, tmp_path: Path
) -> None:
    document = go(tmp_path, "batched", "untrained", "toy[epochs=1]", cache=cache, registry=registry)
    assert {label: one.batch_dependent for label, one in document.methods.items()} == {
        "batched": True,
        "untrained": False,
        "toy[epochs=1]": False,
    }
    assert document.summary["batched"]["auc"] is not None
    record = read_run(tmp_path, "latest").methods[0].record
    assert record.method.batch_dependent
    assert [one.batch_dependent for one in record.scores.values()] == [True]
    assert any("changes with the other items of its batch" in rule for rule in record.method.rules)
    text = tiny.table_of(document)
    assert text.count("[BATCH-DEPENDENT: an item alone scores differently]") == 1
    assert "batched (batch-dependent)" in text


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (
            "flat",
            r"model 'flat' \(broken_plugin:Flat\) of flat: output 'embedding' must be \[items, segments, dims\], got "
            r"\[items, 16\]; if an item is one segment, unsqueeze\(1\) makes it \[items, 1, 16\]",
        ),
        ("uneven", r"must have the same segments.* got embedding \[items, 2, 16\], code \[items, 16\]"),
        (
            "nameless",
            r"output 'code' is \[items, 16\], which may be 16 segments of one number each or a vector .*unsqueeze\(1\) "
            r"makes it \[items, 1, 16\]; if these are segments, declare segment_numbers = \('code',\) in the class",
        ),
        (
            "misread",
            r"^misread: scorer 'mahalanobis' \(.*\) reads an output that model 'untrained' \(broken_plugin:Untrained\) "
            r"does not make: unknown output 'embeding'; did you mean 'embedding'\? \(known: embedding\); set scorer.on to "
            "one of these, or return 'embeding' from the model's outputs$",
        ),
        (
            "bare",
            r"model 'bare' \(broken_plugin:Bare\) of bare: outputs must return a mapping .*, got Tensor",
        ),
        ("mistaken", "unknown output 'embeding'.*; choose another scorer, or return 'embeding' from"),
    ],
)
def test_outputs_that_break_the_contract_are_found_before_training(
    method: str, message: str, registry: Registry, cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(PluginError, match=message):
        go(tmp_path, method, cache=cache, registry=registry)
    assert not (tmp_path / "models").exists()


def test_an_output_of_one_axis_lacks_its_segments_and_several_segments_are_no_mistake() -> None:
    assert "output 'nll' must be [items, segments, ...], got [items]" in (segments_fault({"nll": ()}) or "")
    assert segments_fault({"embedding": (5, 128), "distance": (5,)}) is None
    assert segments_fault({"reconstruction_error": (128,)}) is None
    assert segments_fault({"claim_nll": (4,), "embedding": (1, 128)}) is None


def test_segments_of_one_number_are_declared_or_shown_by_an_output_of_vectors() -> None:
    assert "output 'code' is [items, 128]" in (undeclared_segments({"code": (128,)}, declared=()) or "")
    assert "output 'nll' is [items, 4]" in (
        undeclared_segments({"nll": (4,), "embedding": (1, 8)}, declared=()) or ""
    )
    assert undeclared_segments({"code": (128,)}, declared=("code",)) is None
    assert undeclared_segments({"norm": (4,), "embedding": (4, 8)}, declared=()) is None
    assert undeclared_segments({"nll": (1,), "logits": (1, 3)}, declared=()) is None


@pytest.mark.parametrize("method", ["idnn[scorer=mistaken]", "untrained[on=embeding]"])
def test_an_output_or_a_scorer_of_the_users_choice_is_the_users_mistake(
    method: str, registry: Registry, cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        ConfigError, match=r"reads an output that model .* does not make: unknown output 'embeding'"
    ):
        go(tmp_path, method, cache=cache, registry=registry)
    assert not (tmp_path / "models").exists()


def test_an_output_that_a_scorer_reads_unannounced_is_named_in_its_job(
    registry: Registry, cache: Path, tmp_path: Path
) -> None:
    document = go(tmp_path, "secretive", cache=cache, registry=registry)
    [failed] = document.failed
    assert failed.kind == "score"
    assert "reads an output that model 'untrained' (broken_plugin:Untrained) does not make" in failed.message
    assert "unknown output 'loudness' (known: embedding)" in failed.message


def test_a_mistake_in_outputs_costs_no_training_but_a_model_may_need_to_be_trained_for_them(
    registry: Registry, cache: Path, tmp_path: Path
) -> None:
    document = go(tmp_path, "prying", "averaging", "maturing", cache=cache, registry=registry)
    jobs = {(job.method, job.kind): job for job in document.jobs}
    averaged = jobs["averaging", "fit"].message
    assert averaged.endswith("output 'embedding' must be [items=2, segments, ...], got [1, 1, 16]")
    failed = jobs["prying", "fit"]
    assert failed.message == "AttributeError: 'Items' object has no attribute 'labels'"
    assert "in rehearse" in failed.detail
    assert (jobs["maturing", "fit"].status, jobs["maturing", "score"].status) == ("ok", "ok")


def test_a_model_may_slice_the_silent_items_of_planning_and_is_refused_what_items_lack(
    registry: Registry, cache: Path, tmp_path: Path
) -> None:
    shown = describe(registry, Selector("slicing"), dataset=Selector("synthetic"))
    assert getattr(shown, "output_shapes", None) == {"embedding": [1, 16]}
    with pytest.raises(PluginError, match="AttributeError: 'Items' object has no attribute 'labels'"):
        describe(registry, Selector("prying"), dataset=Selector("synthetic"))
    document = go(tmp_path, "segmented[scorer=knn,scorer.on=code]", "slicing", cache=cache, registry=registry)
    assert document.failed == []


@pytest.mark.parametrize(
    ("change", "precision", "dependent"),
    [
        (0.0, "fp32", False),
        (0.005, "fp32", False),
        (0.05, "fp32", True),
        (0.05, "bf16", False),
        (0.5, "bf16", True),
    ],
)
def test_a_score_may_change_by_what_arithmetic_of_its_precision_rounds(
    change: float, precision: str, dependent: bool
) -> None:
    scores = np.random.default_rng(0).normal(size=100)
    recipe = SimpleNamespace(common=SimpleNamespace(precision=precision))
    scorer = SimpleNamespace(uses_test_set="")
    detector: Any = SimpleNamespace(score=lambda items: items + change, recipe=recipe, scorer=scorer)
    items: Any = scores
    assert bool(depends_on_batch(detector, items, scores=scores)) is dependent
    assert depends_on_batch(detector, items[:1], scores=scores[:1]) == ""
