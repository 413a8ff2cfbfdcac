"""Progress on a narrow terminal and in a log file, and the estimate of the time left."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest
from rich.console import Console

from asdbench.cli.output import for_screen, wrapped
from asdbench.cli.progress import ProgressBars, clock_text, shortened
from asdbench.messages.progress import Progress
from asdbench.runs.eta import TimeLeft, share_of

TITLE = "fit waspp[variant=offapexnet,epochs=12,batch_size=16] loso:casme2/sub07 seed 42"


class Clock:
    """A clock that stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def epochs(done: int, of: int, *, stage: str = "train", step: int = 0, steps: int = 10) -> Progress:
    """Progress of a training."""
    return Progress(stage=stage, epoch=done, epochs=of, step=step, steps=steps, losses={"cross_entropy": 0.5})


def drawn(width: int, show: Callable[[ProgressBars], None]) -> list[str]:
    """Return the lines that a terminal of a width shows last."""
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=50, legacy_windows=False)
    bars = ProgressBars(console=console)
    show(bars)
    with console.capture() as captured:
        console.print(bars._bars.get_renderable())  # what it draws at its next refresh
    return re.sub(r"\x1b\[[\d;?]*\w", "", captured.get()).splitlines()


def a_run(bars: ProgressBars) -> None:
    """Show a large run with two running jobs."""
    bars.jobs(89, 4108, left={"fit": 1965, "score": 2054})
    bars.job(TITLE, Progress(stage="features", step=12, steps=12))
    bars.job(TITLE, epochs(5, 200))
    bars.job(TITLE, epochs(11, 200, step=3))
    bars.job("score pca all seed 42", Progress(stage="features", step=12, steps=47151))


@pytest.mark.parametrize("width", [80, 100, 160])
def test_progress_fits_a_terminal_a_line_each_and_cuts_no_number(width: int) -> None:
    jobs, fit, score = drawn(width, a_run)
    assert all(len(line) <= width for line in (jobs, fit, score))
    assert re.search(r"jobs +\S+ 89/4108 .*\d:\d\d:\d\d +\d+:\d\d:\d\d *$", jobs)
    assert re.search(r" fit waspp\[.*seed 42 .* epoch 12/200 .*\d:\d\d:\d\d +\d:\d\d:\d\d *$", fit)
    assert re.search(r" score pca all seed 42 .* 12/47151 .*-:--:-- *$", score)
    assert ("cross_entropy 0.5" in fit) == (width >= 160)


def test_a_job_whose_steps_are_unknown_shows_no_count() -> None:
    progress = Progress(stage="SLURM task 7_0", step=0, steps=0)
    [line] = [line for line in drawn(160, lambda bars: bars.job("fit a", progress)) if "fit a" in line]
    assert "SLURM task 7_0" in line
    assert "0/0" not in line


def test_an_epoch_with_more_steps_than_announced_is_whole() -> None:
    assert share_of(epochs(9, 10, step=11, steps=10)) == 1.0
    assert share_of(epochs(5, 10, step=5, steps=10)) == 0.55
    assert share_of(Progress(stage="features", step=3, steps=0)) == 0.0


def test_a_log_file_gets_lines_with_their_time_and_the_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("asdbench.cli.progress.time.monotonic", clock)
    bars = ProgressBars()
    bars._time_left = TimeLeft(clock)
    bars.preparing(Progress(stage="hashing", step=7, steps=7))
    bars.jobs(0, 4, left={"fit": 2, "score": 2})
    bars.job("fit a", epochs(0, 10))
    clock.now += 20
    bars.job("fit a", epochs(2, 10))
    lines = capsys.readouterr().err.splitlines()
    assert [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in lines] == [
        "hashing: 7/7", "jobs: 0/4", "fit a: epoch 3/10, train cross_entropy 0.5, about 0:01:20 left",
        "jobs: 0/4, about 0:03:00 left",
    ]  # fmt: skip
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in lines)
    clock.now += 20
    bars.job("fit a", epochs(6, 10))
    assert "jobs: 0/4, about 0:01:33 left\n" in capsys.readouterr().err
    ProgressBars(quiet=True).preparing(Progress(stage="hashing", step=7, steps=7))
    assert capsys.readouterr().err == ""


def test_short_jobs_have_no_lines_in_a_log_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("asdbench.cli.progress.time.monotonic", clock)
    bars = ProgressBars()
    for title in ("score a", "score b"):
        for step in (3, 12):  # both ends of a stage
            clock.now += 4
            bars.job(title, Progress(stage="features", step=step, steps=12))
        bars.job(title, None)
    bars.job("score a", Progress(stage="features", step=3, steps=12))  # again, and now it is slow
    clock.now += 11
    bars.job("score a", Progress(stage="features", step=9, steps=12))
    lines = [line.split(" ", 1)[1] for line in capsys.readouterr().err.splitlines()]
    assert [line for line in lines if not line.startswith("jobs")] == ["score a: 9/12, features"]


# The time left.


def test_the_first_job_gives_an_estimate_before_it_ends() -> None:
    clock = Clock()
    left = TimeLeft(clock)
    left.jobs({"fit": 68, "score": 68})
    assert left.seconds() is None
    clock.now += 2  # the process starts and reads its items
    left.job("fit a", Progress(stage="features", step=1, steps=2))
    assert left.seconds() is None
    left.job("fit a", epochs(0, 10))
    clock.now += 10
    left.job("fit a", epochs(1, 10))
    # 2 s to start and 100 s to train, 68 times, of which 12 s are over; nothing is known of scoring.
    assert left.seconds() == pytest.approx(68 * 102 - 12)


def test_ended_jobs_count_by_kind_and_slots_share_the_work() -> None:
    clock = Clock()
    left = TimeLeft(clock)
    left.jobs({"fit": 4, "score": 4})
    left.job("fit a", epochs(0, 2))
    left.job("fit b", epochs(0, 2))
    clock.now += 10
    for title in ("fit a", "fit b"):
        left.job(title, None)
    left.jobs({"fit": 2, "score": 4})
    left.job("fit c", epochs(0, 2))
    left.job("score a", Progress(stage="score", step=0, steps=0))
    clock.now += 1
    left.job("score a", None)
    left.jobs({"fit": 2, "score": 3})
    left.job("score b", Progress(stage="score", step=0, steps=0))
    # Two fits of 10 s, one of them begun 1 s ago, and three scores of 1 s, in two slots.
    assert left.seconds() == pytest.approx((2 * 10 - 1 + 3 * 1) / 2)


def test_a_later_stage_adds_to_what_the_earlier_ones_took() -> None:
    clock = Clock()
    left = TimeLeft(clock)
    left.jobs({"fit": 1})
    left.job("fit a", epochs(0, 2, stage="first"))
    clock.now += 10
    left.job("fit a", epochs(0, 2, stage="second"))
    assert left.stage_seconds("fit a") is None
    clock.now += 5
    left.job("fit a", epochs(1, 2, stage="second"))
    assert left.seconds() == pytest.approx(10 + 10 - 15)
    assert left.stage_seconds("fit a") == pytest.approx(5)


def test_long_lines_break_between_words_and_tables_stay_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "rule: no items held out of fan/00 (6)\n\nmachine    AUC % of many items\n---------  -----------------"
    assert wrapped(text, 20).splitlines() == [
        "rule: no items held", "  out of fan/00 (6)", "", "machine    AUC % of many items",
        "---------  -----------------",
    ]  # fmt: skip
    assert wrapped("a-selector[with=no-spaces] x", 10) == "a-selector[with=no-spaces]\n  x"
    assert for_screen(text) == text  # not a terminal
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert for_screen(text) == wrapped(text, 20)


def test_texts_are_short() -> None:
    assert shortened("fit a", 10) == "fit a"
    assert shortened("fit abcdefgh seed 42", 11) == "fit a…ed 42"
    assert [clock_text(seconds) for seconds in (None, 0.4, 59.6, 360000)] == [
        "-:--:--", "0:00:00", "0:01:00", "100:00:00",
    ]  # fmt: skip
