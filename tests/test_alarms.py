"""Alarms of a stream: the arithmetic of the rule, and by simulation that false alarms stay as rare as promised."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from plant_folders import RATE, record
from plant_folders import noise as faint

from asdbench.cli import status_of
from asdbench.errors import ConfigError
from asdbench.machine.alarms import Rule, Wanted, blocks, independent_after, rule_for, runs
from asdbench.machine.conformal import promise, threshold
from asdbench.machine.scoring import Judgement

WEEKLY = Wanted(count=1, period="week", every_s=10)
HOURLY = Wanted(count=1, period="hour", every_s=3.6)
"""One alarm in a thousand recordings, which a simulation can see."""
STREAM = 20_000
SPLITS = 200


def noise(count: int, *, seed: int, width: int = 1) -> np.ndarray:
    """Scores of which those fewer than ``width`` apart depend on each other."""
    drawn = np.random.default_rng(seed).normal(size=count + width - 1)
    return sliding_window_view(drawn, width).mean(axis=1) * np.sqrt(width)


def test_as_many_strange_recordings_in_a_row_as_the_rate_needs() -> None:
    rule = rule_for(WEEKLY, noise(60, seed=1), rate=0.05)
    assert (rule.apart, rule.in_a_row, rule.tested) == (1, 4, True)
    # 60480 recordings a week: 0.05^3 of them are 7.56, 0.05^4 are 0.378.
    assert rule.expected(0.05) == pytest.approx(60_480 * 0.05**4)
    assert rule.certain(0.05) == pytest.approx(60_480 * 0.05 / 4)
    assert rule_for(WEEKLY, noise(60, seed=1), rate=0.6).in_a_row == 22
    assert rule_for(Wanted(count=1, period="hour", every_s=60), noise(20, seed=1), rate=0.01).in_a_row == 1
    assert rule_for(Wanted(count=1, period="day", every_s=864), noise(20, seed=1), rate=0.1).in_a_row == 2


def test_neighbours_that_depend_on_each_other_take_a_longer_row() -> None:
    rule = rule_for(WEEKLY, noise(600, seed=0, width=6), rate=0.05)
    assert rule.apart >= 6
    assert rule.in_a_row == 3 * rule.apart + 1
    assert rule.expected(0.05) == pytest.approx(60_480 * 0.05**4)
    assert f"those fewer than {rule.apart} apart depend on each other" in rule.sentence(0.05, confidence="")


def test_too_few_recordings_show_no_dependence() -> None:
    rule = rule_for(WEEKLY, noise(15, seed=0, width=6), rate=0.2)
    assert (rule.apart, rule.tested) == (1, False)
    assert "too few are held out to see whether neighbours depend on each other" in rule.sentence(
        0.2, confidence="with 95 % confidence"
    )


def test_more_alarms_than_recordings_are_refused() -> None:
    wanted = Wanted(count=9, period="hour", every_s=600)
    with pytest.raises(
        ConfigError, match="9 alarms per hour are no fewer than the recordings, 6 at one every 600"
    ):
        rule_for(wanted, noise(20, seed=1), rate=0.05)


def test_neighbours_are_found_independent_where_they_are() -> None:
    found = [independent_after(noise(60, seed=seed)) for seed in range(SPLITS)]
    assert np.mean([each == 1 for each in found]) > 0.9
    assert independent_after(np.zeros(40)) >= 1


def test_a_block_has_its_largest_score() -> None:
    scores = np.array([3.0, 1, 4, 1, 5, 9, 2])
    assert blocks(scores, apart=1).tolist() == scores.tolist()
    assert blocks(scores, apart=3).tolist() == [4, 9]
    assert blocks(scores, apart=9).tolist() == [9]


def test_a_run_that_goes_on_is_one_alarm() -> None:
    strange = [bool(int(each)) for each in "0111101101110"]
    found = [(each.first, each.raised, each.last) for each in runs(strange, in_a_row=3)]
    assert found == [(1, 3, 4), (9, 11, 11)]
    assert [each.first for each in runs(strange, in_a_row=1)] == [1, 6, 9]
    assert list(runs([], in_a_row=1)) == []
    assert [alarms(np.array(strange), in_a_row=k) for k in (1, 2, 3)] == [3, 3, 2]


def alarms(strange: np.ndarray, *, in_a_row: int) -> int:
    """Count as ``runs`` does, but fast."""
    raised = sliding_window_view(strange, in_a_row).all(axis=1)
    return int(raised[0]) + int((raised[1:] & ~raised[:-1]).sum())


def shares_above(*, width: int, held: int, ignore: bool = False) -> float:
    """Return the share of collections whose rule lets more alarms through than wanted."""
    wanted = HOURLY.count / HOURLY.recordings
    broken = 0
    for seed in range(SPLITS):
        scores = noise(held, seed=seed, width=width)
        apart = 1 if ignore else independent_after(scores)
        units = blocks(scores, apart=apart)
        made = promise(len(units), rate=0.1, confidence=0.95)
        rule = rule_for(HOURLY, noise(held, seed=seed) if ignore else scores, rate=made.rate)
        strange = noise(STREAM, seed=SPLITS + seed, width=width) > threshold(units, above=made.above)
        # Twice the wanted number, since a single stream of 20 wanted alarms varies by a few.
        broken += alarms(strange, in_a_row=rule.in_a_row) > 2 * wanted * STREAM
    return broken / SPLITS


@pytest.mark.parametrize(("width", "held"), [(1, 60), (4, 300)])
def test_false_alarms_are_as_rare_as_promised(width: int, held: int) -> None:
    assert shares_above(width=width, held=held) <= 0.05


def test_without_regard_to_dependence_the_promise_would_break() -> None:
    assert shares_above(width=8, held=300, ignore=True) > 0.5


def test_a_rule_is_told_to_people() -> None:
    rule = Rule(wanted=WEEKLY, apart=1, in_a_row=4, tested=True)
    assert rule.sentence(0.05, confidence="with 95 % confidence") == (
        "an alarm takes 4 strange recordings in a row: on average at most 0.38 false alarms per week with 95 % confidence, "
        "with a recording every 10 s (the held-out ones, in the order of their names, show no dependence of neighbours); "
        "without any independence at most 756"
    )


def hum(pitch_hz: float, *, seed: int) -> np.ndarray:
    """Half a second of a hum in noise."""
    time_s = np.arange(RATE // 2) / RATE
    return 0.3 * np.sin(2 * np.pi * pitch_hz * time_s) + faint(0.5, seed=seed)


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of normal recordings, and a later one with a fault of four recordings and a single odd one."""
    place = tmp_path_factory.mktemp("stream")
    for k in range(40):
        record(place / f"press/{k:02}.wav", samples=hum(300, seed=k))
    for k in range(12):
        record(place / f"later/{k:02}.wav", samples=hum(900 if k in (1, 5, 6, 7, 8) else 300, seed=100 + k))
    return place


def test_a_detector_for_a_stream_raises_an_alarm_after_some_strange_recordings(
    stream: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ASDBENCH_CACHE", str(cache))
    monkeypatch.setenv("ASDBENCH_DEVICE", "cpu")
    file = stream / "press.safetensors"
    words = ["--data", str(stream / "press"), "--hold", "50%", "--false-alarms", "15%", "--out", str(file)]
    asked = ["--alarms", "1/hour", "--every", "1min", "--json"]
    assert status_of(["fit", "-p", "logmel_knn", *words, *asked]) == 0
    shown = json.loads(capsys.readouterr().out)
    wanted = {"count": 1.0, "period": "hour", "every_s": 60.0}
    assert shown["detector"]["alarms"] == [{"wanted": wanted, "apart": 1, "in_a_row": 3, "tested": True}]
    assert shown["streams"][0].startswith(
        "an alarm takes 3 strange recordings in a row: on average at most 0.2"
    )
    assert status_of(["score", "--detector", str(file), str(stream / "later"), "--json"]) == 0
    found = msgspec.json.decode(capsys.readouterr().out, type=Judgement)
    assert found.rules == {"00": shown["streams"][0]}
    [alarm] = found.alarms
    names = [Path(each).name for each in (alarm.first, alarm.raised, alarm.last)]
    assert (names, alarm.recordings) == (["05.wav", "07.wav", "08.wav"], 4)
    assert found.recordings[1].verdict == "anomaly"  # but alone
    assert status_of(["score", "--detector", str(file), str(stream / "later")]) == 0
    assert "ALARM: machine 00, raised by " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--alarms", "1/week"], "--alarms and --every belong together"),
        (["--every", "10s"], "--alarms and --every belong together"),
        (["--alarms", "often", "--every", "10s"], "'often' is no rate of alarms; use for example 1/week"),
        (["--alarms", "0/day", "--every", "10s"], "'0/day' is no rate of alarms"),
        (["--alarms", "1/day", "--every", "10"], "'10' is no duration; use for example 10s, 5min or 1h"),
    ],
)
def test_a_rate_of_alarms_needs_the_rate_of_recordings(
    words: list[str], message: str, stream: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(["fit", "-p", "logmel_knn", "--data", str(stream / "press"), *words]) == 2
    assert message in capsys.readouterr().err
