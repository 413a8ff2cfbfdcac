"""The loop of a study, with an objective that is arithmetic: the same trials whatever happens, refusals, pruning."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
import tiny
from optuna.samplers import RandomSampler

from asdbench import Between, ConfigError, Method, OneOf, Selector, Space
from asdbench.errors import RunError
from asdbench.messages.happenings import RunEvent
from asdbench.messages.results import Grade
from asdbench.plugin.space import parse_span, points
from asdbench.runs.journal import Journal
from asdbench.tuning.candidates import Candidate
from asdbench.tuning.document import Studied
from asdbench.tuning.figures import draw_study
from asdbench.tuning.request import Identity, TuningRequest, space_of
from asdbench.tuning.storage import held
from asdbench.tuning.study import folder_of, study

SPACE: Space = {
    "lr": Between(low=1e-4, high=1e-1, log=True),
    "depth": Between(low=1, high=6),
    "scorer": OneOf(values=("knn", "lof")),
    "scorer.k": Between(low=1, high=32, log=True, when={"scorer": ("knn",)}),
}
FLAT: Space = {"lr": SPACE["lr"], "depth": SPACE["depth"], "share": Between(low=0.0, high=1.0)}


class Watching:
    """Remembers how long a study still takes after each round, and may interrupt it."""

    def __init__(self, *, stop_after: int | None = None) -> None:
        self.left: list[float | None] = []
        self.stop_after = stop_after

    def event(self, event: RunEvent) -> None:
        if event.trials is not None:
            self.left.append(event.left_s)
            if self.stop_after is not None and event.trials.done >= self.stop_after:
                raise KeyboardInterrupt


@dataclass(kw_only=True)
class Arithmetic:
    """Stands for ``Bench``: grades options by a formula, two units that are two stages where trials are pruned."""

    request: TuningRequest
    graded: list[tuple[Any, int]] = field(default_factory=list)
    units: tuple[str, ...] = ("fan", "valve")
    lost: Sequence[Any] = ()
    """Keys of candidates whose job is killed."""

    @property
    def stages(self) -> Sequence[str]:
        return ["one"] if self.request.pruner == "none" else ["one", "two", "three"]

    @property
    def identity(self) -> Identity:
        asked = self.request
        return Identity(
            method=str(asked.method), dataset="d", samples="samples", objective="pseudo", sampler=asked.sampler,
            space={option: msgspec.to_builtins(span) for option, span in asked.space.items()}, pruner=asked.pruner,
            per=asked.per, round=asked.round, seed=asked.seed, seeds=[42], threads=1, device="cpu", held=asked.held,
        )  # fmt: skip

    def start(self, candidates: Sequence[Candidate]) -> Any:
        self.candidates = {each.key: each for each in candidates}
        return self

    def grade(self, keys: Sequence[Any], *, stage: int) -> dict[Any, Grade]:
        self.graded += [(key, stage) for key in keys]
        killed = Grade(value=None, why="fit fan: crashed: died with signal 9", lost=True)
        return {key: killed if key in self.lost else self._grade(self.candidates[key], stage) for key in keys}

    def _grade(self, candidate: Candidate, stage: int) -> Grade:
        options = candidate.selector.options
        if options.get("depth") == "6":
            return Grade(value=None, why="depth 6 is too deep")
        lr, depth = float(options.get("lr", 0.01)), int(options.get("depth", 3))
        of_unit = 0.1 if candidate.unit == "valve" else 0.0
        return Grade(value=0.9 - abs(lr - 0.02) - 0.05 * abs(depth - 4) - 0.01 * stage + of_unit)


BENCHES: list[Arithmetic] = []
"""Every one that was opened."""


def request(folder: Path, **options: Any) -> TuningRequest:
    run = tiny.request(folder, Selector("toy"), cache=folder)
    return TuningRequest(run=run, **({"study": "s", "trials": 12, "space": SPACE} | options))


def go(
    folder: Path, *, observer: Watching | None = None, lost: Sequence[Any] = (), **options: Any
) -> Studied:
    wanted = request(folder, **options)

    def open_() -> Arithmetic:
        BENCHES.append(Arithmetic(request=wanted, lost=lost))
        return BENCHES[-1]

    return study(wanted, open_, journal=Journal("s", [observer or Watching()]))


def rows(studied: Studied) -> list[tuple[Any, ...]]:
    return [(row.number, row.unit, row.state, row.value, row.stages, row.options) for row in studied.trials]


SAMPLERS: dict[str, dict[str, Any]] = {
    "tpe": {},
    "random": {},
    "cmaes": {"space": FLAT},
    "qmc": {"space": FLAT},
    "grid": {"space": {"depth": OneOf(values=(1, 2, 3)), "lr": OneOf(values=(0.01, 0.02, 0.03, 0.04))}},
}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_study_proposes_the_same_trials_however_often_it_is_interrupted(
    sampler: Any, tmp_path: Path
) -> None:
    options = {"sampler": sampler, "trials": 12, **SAMPLERS[sampler]}
    whole = go(tmp_path / "a", **options)
    for stop_after in (4, 8):
        with pytest.raises(KeyboardInterrupt):
            go(tmp_path / "b", observer=Watching(stop_after=stop_after), **options)
    again = go(tmp_path / "b", **options)
    assert len(whole.trials) == 12
    assert rows(again) == rows(whole)
    assert again.best == whole.best
    assert len({json.dumps(row.options, sort_keys=True) for row in whole.trials}) >= 10


def test_tpe_learns_from_the_trials_before(tmp_path: Path) -> None:
    studied = go(tmp_path, trials=40, space=FLAT)
    values = [row.value or 0.0 for row in studied.trials]
    assert sum(values[-8:]) > sum(values[:8])


def test_another_seed_proposes_other_trials(tmp_path: Path) -> None:
    first, second = (go(tmp_path / str(seed), seed=seed, sampler="random") for seed in (0, 1))
    assert not {str(row.options) for row in first.trials} & {str(row.options) for row in second.trials}


def test_told_trials_are_not_graded_again_and_a_half_told_round_is_finished(tmp_path: Path) -> None:
    whole = go(tmp_path / "a")
    go(tmp_path / "b", trials=8)
    # As if it had been killed while the trials of a round were written.
    with sqlite3.connect(tmp_path / "b/studies/s/study.db") as database:
        for table in ("trial_params", "trial_values", "trial_user_attributes", "trial_system_attributes"):
            database.execute(f"DELETE FROM {table} WHERE trial_id > 6")
        database.execute("DELETE FROM trial_intermediate_values WHERE trial_id > 6")
        database.execute("DELETE FROM trials WHERE trial_id > 6")
    assert rows(go(tmp_path / "b")) == rows(whole)
    graded = [key[1] for key, _ in BENCHES[-1].graded if key is not None]
    assert graded == [6, 7, 8, 9, 10, 11]


def test_a_study_with_more_trials_goes_on_as_if_it_had_had_them_from_the_start(tmp_path: Path) -> None:
    go(tmp_path / "a", trials=6)
    assert rows(go(tmp_path / "a", trials=12)) == rows(go(tmp_path / "b", trials=12))


def test_options_that_do_not_apply_are_not_chosen(tmp_path: Path) -> None:
    studied = go(tmp_path, sampler="random", trials=20)
    kinds = {row.options["scorer"]: "scorer.k" in row.options for row in studied.trials}
    assert kinds == {"knn": True, "lof": False}


def test_a_grid_is_tried_once(tmp_path: Path) -> None:
    studied = go(tmp_path, trials=99, sampler="grid", space=SAMPLERS["grid"]["space"])
    assert [row.options for row in studied.trials] == [
        {"depth": str(depth), "lr": str(lr)} for depth in (1, 2, 3) for lr in (0.01, 0.02, 0.03, 0.04)
    ]


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_a_pruned_trial_has_no_further_stage_and_is_pruned_again(pruner: Any, tmp_path: Path) -> None:
    first = len(BENCHES)
    whole = go(tmp_path / "a", pruner=pruner, trials=24)
    pruned = [row for row in whole.trials if row.state == "pruned"]
    assert pruned
    assert all(len(row.stages) < 3 for row in pruned)
    graded = BENCHES[first].graded
    for row in pruned:
        assert ((None, row.number), len(row.stages)) not in graded
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "b", pruner=pruner, trials=24, observer=Watching(stop_after=12))
    assert rows(go(tmp_path / "b", pruner=pruner, trials=24)) == rows(whole)


def test_a_failed_trial_has_its_reason_and_stays_failed(tmp_path: Path) -> None:
    options: dict[str, Any] = {"sampler": "grid", "space": {"depth": OneOf(values=(5, 6))}}
    studied = go(tmp_path, **options)
    assert [(row.state, row.why) for row in studied.trials] == [
        ("complete", ""),
        ("failed", "depth 6 is too deep"),
    ]
    assert rows(go(tmp_path, **options)) == rows(studied)


@pytest.mark.parametrize("options", [{"space": FLAT}, {"pruner": "median"}])
def test_a_trial_whose_job_was_killed_runs_again_and_the_study_ends_like_an_undisturbed_one(
    options: dict[str, Any], tmp_path: Path
) -> None:
    options = {"trials": 16, **options}
    whole = go(tmp_path / "a", **options)
    best = whole.best[0].number or 0
    disturbed = go(tmp_path / "b", lost=[(None, best)], **options)
    row = disturbed.trials[best]
    assert (row.state, row.value, row.why) == ("lost", None, "fit fan: crashed: died with signal 9")
    assert rows(disturbed)[best + 1 :] != rows(whole)[best + 1 :]  # nothing could be learned from it
    assert rows(go(tmp_path / "b", lost=[(None, best)], **options)) == rows(disturbed)  # it is killed again
    assert rows(go(tmp_path / "b", **options)) == rows(whole)
    assert {key for key, _ in BENCHES[-1].graded} == {None, *((None, number) for number in range(best, 16))}
    go(tmp_path / "b", **options)
    assert {key for key, _ in BENCHES[-1].graded} == {None}


def test_own_options_whose_job_was_killed_end_the_command_and_the_same_one_goes_on(tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"own options was killed: fit fan: crashed: .*; the same command goes on"
    ):
        go(tmp_path, lost=[None], trials=4)
    assert len(go(tmp_path, trials=4).trials) == 4


def test_where_no_trial_is_better_the_own_options_are_chosen(tmp_path: Path) -> None:
    [best] = go(tmp_path, sampler="grid", space={"depth": OneOf(values=(1, 2))}).best
    assert (best.number, best.options) == (None, {})
    assert best.value == best.default == pytest.approx(0.9 - 0.01 - 0.05)


def test_each_unit_can_be_a_study_of_its_own(tmp_path: Path) -> None:
    studied = go(tmp_path, per="unit", trials=4)
    assert [(row.unit, row.number) for row in studied.trials] == [
        (unit, number) for unit in ("fan", "valve") for number in range(4)
    ]
    fan, valve = studied.best
    assert valve.value == pytest.approx((fan.value or 0) + 0.1)


def test_equal_studies_draw_equal_figures_one_set_for_each_unit(tmp_path: Path) -> None:
    studied = go(tmp_path, per="unit")
    files = draw_study(studied, to=tmp_path / "a")
    again = draw_study(studied, to=tmp_path / "b")
    assert [file.name for file in files] == [
        f"{name}-{unit}.svg" for unit in ("fan", "valve") for name in ("history", "importance", "parallel")
    ]
    assert [file.read_bytes() for file in files] == [file.read_bytes() for file in again]
    assert "own options" in files[0].read_text("utf-8")


def test_the_time_limit_ends_a_study_between_rounds(tmp_path: Path) -> None:
    studied = go(tmp_path, timeout_s=1e-9)
    assert (studied.stopped, studied.trials) == (True, [])
    assert rows(go(tmp_path)) == rows(go(tmp_path / "b"))


def test_the_database_is_in_wal_mode_and_a_dashboard_gets_a_copy(tmp_path: Path) -> None:
    go(tmp_path)
    folder = tmp_path / "studies/s"
    with sqlite3.connect(folder / "study.db") as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    with sqlite3.connect(folder / "dashboard.db") as copy:
        assert copy.execute("SELECT count(*) FROM trials WHERE state != 'RUNNING'").fetchone() == (12,)


def test_a_study_that_another_process_holds_is_refused(tmp_path: Path) -> None:
    with held(folder_of(request(tmp_path))), pytest.raises(RunError, match="another process is tuning"):
        go(tmp_path)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"sampler": "random"}, "sampler tpe instead of random"),
        ({"seed": 1}, "seed 0 instead of 1"),
        ({"space": FLAT}, "space .* instead of"),
        ({"round": 2}, "round 4 instead of 2"),
        ({"per": "unit"}, "per all instead of unit"),
    ],
)
def test_a_study_of_another_kind_is_refused_and_nothing_is_lost(
    changed: dict[str, Any], match: str, tmp_path: Path
) -> None:
    first = go(tmp_path)
    with pytest.raises(ConfigError, match=match):
        go(tmp_path, **changed)
    assert rows(go(tmp_path)) == rows(first)


def test_a_study_that_would_propose_other_trials_than_it_stored_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(tmp_path)
    monkeypatch.setattr(
        "asdbench.tuning.study.sampler_of", lambda name, *, seed, number: RandomSampler(seed=99 + number)
    )
    with pytest.raises(RunError, match=r"trial 0 of .* but the same study would propose"):
        go(tmp_path)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"sampler": "tpee"}, "unknown sampler 'tpee'; did you mean 'tpe'"),
        ({"pruner": "mean"}, "unknown pruner 'mean'.*known: hyperband, median, none"),
        ({"objective": "test"}, "unknown objective 'test'.*known: bound, faults, pseudo, validation"),
        ({"per": "machine"}, "unknown value of per 'machine'"),
        ({"trials": 0}, "at least one of trials, got 0"),
        ({"round": 0}, "at least one of trials of a round, got 0"),
        ({"held": 1.0}, "held=1 is not a share between 0 and 1"),
        ({"sampler": "grid"}, "lr is a range from 0.0001 to 0.1, which has no grid"),
    ],
)
def test_a_wrong_request_is_refused(options: dict[str, Any], match: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=match):
        request(tmp_path, **options)


METHOD = Method(
    name="m", title="", paper="", featurizer="raw", model="toy", scorer="knn", space=SPACE,
    grids={"paper": {"depth": OneOf(values=(1, 2))}},
)  # fmt: skip


def test_parameters_choose_and_replace_spans() -> None:
    assert space_of(METHOD, name=None, wanted=()) == SPACE
    assert space_of(METHOD, name="paper", wanted=()) == METHOD.grids["paper"]
    assert space_of(METHOD, name=None, wanted=("lr", "x=1..8", "y=a|none|2")) == {
        "lr": SPACE["lr"],
        "x": Between(low=1, high=8),
        "y": OneOf(values=("a", None, 2)),
    }
    assert parse_span("lr=1e-4..1e-2:log") == ("lr", Between(low=1e-4, high=1e-2, log=True))


@pytest.mark.parametrize(
    ("name", "wanted", "match"),
    [
        ("papr", (), "unknown search space 'papr'; did you mean 'paper'"),
        (None, ("lrr",), "unknown parameter 'lrr'; did you mean 'lr'"),
        (None, ("lr", "lr"), "'lr' is given twice"),
        (None, ("lr=",), "is not of the form NAME"),
        (None, ("lr=a..b",), "a range is two numbers"),
        (None, ("lr=2..1",), r"low < high, got 2\.\.1"),
        (None, ("lr=0..1:log",), "low > 0"),
        (None, ("scorer.k",), "scorer.k depends on unknown earlier option 'scorer'"),
    ],
)
def test_a_wrong_space_is_refused(name: str | None, wanted: tuple[str, ...], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        space_of(METHOD, name=name, wanted=wanted)


def test_a_method_without_a_space_needs_parameters() -> None:
    with pytest.raises(ConfigError, match="toy declares no search space; give one"):
        space_of(tiny.registry().method("toy"), name=None, wanted=())


def test_points_that_differ_in_an_option_that_does_not_apply_are_one() -> None:
    space: Space = {"a": OneOf(values=(1, 2)), "b": OneOf(values=(3, 4), when={"a": (2,)})}
    assert list(points(space)) == [{"a": 1}, {"a": 2, "b": 3}, {"a": 2, "b": 4}]


def test_the_time_left_counts_the_trials_of_this_process_alone(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, observer=Watching(stop_after=8))
    watching = Watching()
    go(tmp_path, observer=watching)
    assert [left is None for left in watching.left] == [True, True, False]
