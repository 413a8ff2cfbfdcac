"""Plugins that were written to cheat, run as real ones: with isolation they find nothing, and without it they do."""

from __future__ import annotations

import json
import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cheats
import pytest
import tiny

from asdbench import Registry, RunDocument, Selector
from asdbench.cli import status_of
from asdbench.data import prepare
from asdbench.errors import ConfigError, RunError
from asdbench.jobs import isolation as of_jobs
from asdbench.jobs import landlock
from asdbench.messages.isolation import Isolated, Isolation, weakest
from asdbench.plugin.registry import Plugin
from asdbench.runs.run import run

WAYS: list[Any] = [
    pytest.param(
        "required", id="landlock", marks=pytest.mark.skipif(not landlock.version(), reason="no Landlock")
    ),
    "audit",
]
TOUR = {
    "list-cache", "list-results", "read-records", "read-run", "climb", "write-outside", "write-plugin", "link",
    "read-memory", "read-environment", "connect", "signal", "program",
}  # fmt: skip
BEYOND_PYTHON = {"signal"}
"""What the hook of Python does not prevent; ``ctypes`` and libraries in C would do the rest, too."""


def with_cheats() -> Registry:
    registry = tiny.registry()
    registry.add(Plugin(name="cheats"), cheats)
    return registry


def go(folder: Path, cache: Path, isolation: Isolation, **options: Any) -> RunDocument:
    selected = Selector(
        "cheat", {"cache": str(cache), "out": str(folder), **{k: str(v) for k, v in options.items()}}
    )
    request = tiny.request(folder, selected, cache=cache, isolation=isolation)
    return run(request, with_cheats(), observer=tiny.Silent())


def auc(document: RunDocument) -> float | None:
    assert [job.message for job in document.jobs if job.status != "ok"] == []
    [value] = {row.value for row in document.results if row.metric == "auc" and not any(row.groups.values())}
    return value


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("way", ["vault", "names"])
@pytest.mark.parametrize("isolation", WAYS)
def test_labels_are_out_of_reach_for_a_job(
    way: str, isolation: Isolation, cache: Path, tmp_path: Path
) -> None:
    document = go(tmp_path, cache, isolation, way=way)
    assert auc(document) == 0.5
    [summary] = document.methods.values()
    assert summary.isolated == ("landlock" if isolation == "required" else isolation)


@pytest.mark.parametrize("way", ["vault", "names"])
def test_without_isolation_the_same_plugins_know_every_label(way: str, cache: Path, tmp_path: Path) -> None:
    document = go(tmp_path, cache, "none", way=way)
    assert auc(document) == 1.0
    [summary] = document.methods.values()
    assert summary.isolated == "none"


def test_a_table_of_the_public_clips_is_recognised_by_what_it_does_not_know(
    cache: Path, tmp_path: Path
) -> None:
    go(
        tmp_path / "first", cache, "none", way="vault"
    )  # the public data are on this machine now, with their labels
    known = cheats.labels_of_samples(cheats.CheatConfig(cache=str(cache)))
    table = (
        json.dumps({cheats.fingerprint(samples): label for samples, label in known.items()}).encode().hex()
    )
    document = go(tmp_path, cache, "auto", way="table", table=table)
    assert auc(document) == 1.0  # nothing prevents that
    [summary] = document.methods.values()
    assert summary.recognises
    assert "fingerprint-suspect" in summary.flags
    assert "[FINGERPRINT-SUSPECT: items score differently" in tiny.table_of(document)


@pytest.mark.parametrize("method", ["idnn", "logmel_knn", "modspec_knn", "stgram_mfn"])
def test_an_honest_method_is_not_suspect(method: str, cache: Path, tmp_path: Path) -> None:
    options = {"epochs": "1"} if method in ("idnn", "stgram_mfn") else {}
    document = tiny.go(tmp_path, Selector(method, options), cache=cache)
    assert [summary.recognises for summary in document.methods.values()] == [False]


def test_scores_that_change_with_every_bit_are_unsteady_and_not_suspect(cache: Path, tmp_path: Path) -> None:
    document = go(tmp_path, cache, "none", way="hash")
    [summary] = document.methods.values()
    assert not summary.recognises
    assert (
        "items change when nothing that can be heard does, and again when it changes once more"
        in tiny.table_of(document)
    )


@pytest.mark.parametrize("isolation", [*WAYS, "none"])
def test_a_job_does_nothing_that_it_has_no_business_to(
    isolation: Isolation, cache: Path, tmp_path: Path, listening: int
) -> None:
    tiny.go(tmp_path, cache=cache)  # there are records of another run to read
    document = go(tmp_path, cache, isolation, way="tour", other=os.getpid(), port=listening)
    [outcome] = [each for each in document.jobs if each.method.startswith("cheat") and each.kind == "fit"]
    did = set(outcome.message.partition("did: ")[2].split()) - {"nothing"}
    Path(f"{cheats.__file__}.left").unlink(missing_ok=True)
    (cache.parent / "link").unlink(missing_ok=True)
    assert did == {"required": set(), "audit": BEYOND_PYTHON, "none": TOUR}[isolation]


SECTION = Selector(
    "synthetic", {"machines": "fan", "ids": "1", "train_clips": "6", "test_clips": "32", "length_s": "1"}
)
FOUND_ANYWHERE = {"shared-memory"}
"""What a job can leave for another: no job knows a label that it could pass on."""
PATCHED = (
    "the method replaced asdbench.jobs.job.moves_unheard in the process of its job; a plugin may call the harness, but not "
    "change it"
)
FOUND_WITHOUT = {*FOUND_ANYWHERE, "temporary", "cache", "results", "plugin"}


@pytest.mark.parametrize("isolation", [*WAYS, "none"])
def test_nothing_else_in_a_job_tells_a_label_and_a_patch_of_the_harness_is_refused(
    isolation: Isolation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shut_in = isolation != "none"
    if not shut_in:  # nor hidden in any other way: as the release lists them
        monkeypatch.setattr(prepare, "sorted", lambda rows, key: rows, raising=False)
    # One of the secret permutations, so that chance is the same in every run.
    order = random.Random(0).sample if shut_in else lambda ids, size: list(ids)
    monkeypatch.setattr(prepare, "_secret_permutation", lambda size: order(range(size), size))
    cache, out = tmp_path / "cache", tmp_path / "out"
    places = {"cache": str(cache), "out": str(out)}
    ways = {
        way: Selector("cheat", {"way": way, **places}) for way in ("order", "neighbours", "others", "traces")
    }
    ways["patch"] = Selector("cheat", {"patches": "true", **places})
    request = tiny.request(out, *ways.values(), cache=cache, dataset=SECTION, isolation=isolation)
    document = run(request, with_cheats(), observer=tiny.Silent())
    for file in cheats.trace_files(cheats.CheatConfig(**places)).values():
        file.unlink(missing_ok=True)
    messages = {job.method: job.message for job in document.jobs if job.status == "error"}
    aucs = {row.method: row.value for row in document.results if row.metric == "auc"}
    for way in ("order", "neighbours"):
        assert 0.3 < aucs[str(ways[way])] < 0.7 if shut_in else aucs[str(ways[way])] == 1.0
    assert aucs[str(ways["others"])] == 0.5  # it knows all test items, and no label; the contract forbids it
    found = set(messages.pop(str(ways["traces"])).partition("found: ")[2].split())
    assert found == (FOUND_ANYWHERE if shut_in else FOUND_WITHOUT)
    assert messages == {str(ways["patch"]): PATCHED}


def test_a_method_trains_and_scores_the_same_bits_in_isolation(cache: Path, tmp_path: Path) -> None:
    ways: list[Isolation] = ["auto", "audit", "none"]
    runs = [tiny.go(tmp_path / way, cache=cache, isolation=way) for way in ways]
    assert runs[0].results == runs[1].results == runs[2].results
    assert [run.methods["toy"].isolated for run in runs][1:] == ["audit", "none"]


def test_a_file_that_the_user_names_can_be_read(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.write_text("w")
    read = isolated_call(weights.read_text, readable=[weights])
    assert read == "w"
    assert isolated_call(weights.read_text, readable=[]).startswith("PermissionError")


def test_folders_that_hold_secrets_are_closed_below_a_folder_with_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "one.py").write_text("value = 1")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "anomaly.wav").write_text("secret")
    monkeypatch.syspath_prepend(str(tmp_path))

    def look() -> str:
        return (tmp_path / "modules" / "one.py").read_text() + (tmp_path / "data" / "anomaly.wav").read_text()

    assert isolated_call(look, readable=[], hidden=[tmp_path / "data"]).startswith("PermissionError")
    assert isolated_call(look, readable=[], hidden=[]) == "value = 1secret"


def isolated_call(look: Any, *, readable: list[Path], hidden: list[Path] | None = None) -> str:
    """Return what a function returns in a process shut in by the best means there is, or its error."""
    from asdbench.jobs.sealed import in_child

    def answer() -> bytes:
        of_jobs.isolate("auto", readable=readable, writable=[], hidden=hidden or [])
        try:
            return str(look()).encode()
        except OSError as error:
            return f"{type(error).__name__}: {error}".encode()

    return in_child(answer).decode()


def test_isolation_that_is_required_and_missing_is_refused(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landlock, "version", lambda: 0)
    with pytest.raises(
        ConfigError, match="--isolation required: this kernel cannot shut jobs in; Landlock needs Linux"
    ):
        tiny.go(tmp_path, cache=cache, isolation="required")
    assert not (tmp_path / "models").exists()
    with pytest.raises(RunError, match="--isolation required: this kernel cannot"):
        of_jobs.isolate("required", readable=[], writable=[])


@pytest.mark.parametrize(
    "command",
    ["run -p idnn -d synthetic", "tune -p idnn -d synthetic --dry-run", "conformance idnn", "figures"],
)
def test_every_command_that_runs_methods_apart_refuses_isolation_that_is_missing(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASDBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(landlock, "version", lambda: 0)
    assert status_of([*command.split(), "--isolation", "required"]) == 2
    assert "--isolation required: this kernel cannot shut jobs in; Landlock" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("ways", "expected"), [([], "none"), (["landlock", "audit"], "audit"), (["none", "landlock"], "none")]
)
def test_a_record_names_the_weakest_isolation_of_its_jobs(ways: list[Isolated], expected: Isolated) -> None:
    assert weakest(ways) == expected
