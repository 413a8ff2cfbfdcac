"""A plugin that cheats in every way that we know; the tests in ``test_cheats.py`` say what each of them finds."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import torch
from msgspec import Meta
from torch import Tensor

from asdbench import Config, Entry, Info, Items, ItemView, Method, Model, Trainer, hookimpl, lazy, read_wave
from asdbench.jobs import job

Way = Literal["vault", "names", "table", "order", "neighbours", "others", "traces", "tour", "hash"]
TRAINED = 64
"""Training items that a cheat remembers."""
TRACE = "asdbench-cheat-trace"


class CheatConfig(Config, frozen=True, kw_only=True):
    """Options of the cheat."""

    way: Annotated[Way, Meta(description="how it cheats")] = "vault"
    cache: Annotated[str, Meta(description="the user's cache, which a real cheat would guess")] = ""
    out: Annotated[str, Meta(description="the folder of results, likewise")] = ""
    other: Annotated[int, Meta(description="the id of a process that does not belong to the job")] = 0
    table: Annotated[
        str, Meta(description="the table of fingerprints that comes with it, as hexadecimal JSON")
    ] = ""
    port: Annotated[int, Meta(description="where something listens on this machine")] = 0
    patches: Annotated[bool, Meta(description="replace what looks for cheats in a job")] = False


class Cheat(Model):
    """Scores an item by its label if it finds it, else all items alike; the hash is no cheat, but as little worth."""

    Config = CheatConfig

    def __init__(self, config: CheatConfig, info: Info) -> None:
        super().__init__(config, info)
        self.register_buffer("trained", torch.full((TRAINED,), -1.0))

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Learn nothing but which items these are; the tour tries everything and says what it was able to do."""
        if self.config.way == "tour":
            raise ValueError(f"did: {' '.join(sorted(_tour(self.config))) or 'nothing'}")
        if self.config.way == "traces":
            leave_traces(self.config)
        ids = torch.tensor(_ids(train) + _ids(held), dtype=torch.float32)
        self.trained[: len(ids)] = ids

    def outputs(self, items: ItemView) -> Mapping[str, Tensor]:
        """Return what it claims of each item, ``[n, 1]``; of most ways 1 for one that is known to be anomalous."""
        if self.config.patches:
            job.moves_unheard = lambda *arguments, **options: ""  # type: ignore[attr-defined]
        if self.config.way == "traces" and _is_real(items):
            raise ValueError(f"found: {' '.join(sorted(traces(self.config))) or 'nothing'}")
        if self.config.way in CLAIMS:
            claims = CLAIMS[self.config.way](_ids(items), _places(items), self.trained.tolist())
            return {"claim_nll": torch.tensor(claims, dtype=torch.float32)[:, None]}
        if self.config.way == "hash":
            numbers = [int(fingerprint(each.numpy().tobytes()), 16) / 16**8 for each in items.raw()]
            return {"claim_nll": torch.tensor(numbers, dtype=torch.float32)[:, None]}
        known: Mapping[Any, bool] = {}
        with contextlib.suppress(OSError):
            known = LABELS[self.config.way](self.config)
        samples = [each.numpy().tobytes() for each in items.raw()]
        keys: list[Any] = samples
        if self.config.way == "vault":
            keys = _ids(items)
        elif self.config.way == "table":
            keys = list(map(fingerprint, samples))
        return {"claim_nll": torch.tensor([[float(known.get(key, False))] for key in keys])}


def _is_real(items: Any) -> bool:
    return hasattr(items._source, "ids")  # before the fit, one without items is rehearsed with


def _ids(items: Any) -> list[int]:
    return [int(each) for each in items._source.ids[items._rows]] if _is_real(items) else [0] * len(items)


def _places(items: Any) -> list[int]:
    """Return where each item stands among those of the job."""
    return [int(each) for each in items._rows] if _is_real(items) else [0] * len(items)


def _nearness(ids: list[int], places: list[int], trained: list[float]) -> list[float]:
    """Return how far each item is from a training item: a release has normal clips side by side."""
    return [min((abs(each - other) for other in trained if other >= 0), default=0.0) for each in ids]


CLAIMS: Mapping[str, Callable[[list[int], list[int], list[float]], list[float]]] = {
    # A release lists anomalies first.
    "order": lambda ids, places, trained: [-float(place) for place in places],
    "neighbours": _nearness,
    "others": lambda ids, places, trained: [float(each not in trained) for each in ids],
}
"""Ways that need nothing but the ids of items, their places in the job, and the ids that were trained on."""


def trace_files(config: CheatConfig) -> dict[str, Path]:
    """Return where one job may leave something for another."""
    return {
        "shared-memory": Path("/dev/shm", TRACE),
        "temporary": Path(tempfile.gettempdir()).parent / TRACE,  # the folder of all jobs of the command
        "cache": Path(config.cache) / TRACE,
        "results": Path(config.out) / TRACE,
        "plugin": Path(f"{__file__}.{TRACE}"),
    }


def leave_traces(config: CheatConfig) -> None:
    """Leave something for a later job, in files and in global state."""
    for file in trace_files(config).values():
        with contextlib.suppress(OSError):
            file.write_text("trace")
    os.environ[TRACE] = "trace"
    setattr(torch, TRACE, "trace")


def traces(config: CheatConfig) -> set[str]:
    """Return what an earlier job has left."""
    found = {"environment"} if TRACE in os.environ else set()
    found |= {"torch"} if hasattr(torch, TRACE) else set()
    for name, file in trace_files(config).items():
        with contextlib.suppress(OSError):
            file.read_text()
            found.add(name)
    return found


def _labels_of_ids(config: CheatConfig) -> dict[Any, bool]:
    """Read the vault."""
    [file] = _walk(Path(config.cache), "vault.parquet")
    table = pd.read_parquet(file)
    return {
        int(item): label == "anomaly" for item, label in zip(table["item_id"], table["label"], strict=True)
    }


def labels_of_samples(config: CheatConfig) -> dict[Any, bool]:
    """Compare the samples with those of files whose names hold the label."""
    return {
        np.asarray(read_wave(file), dtype=np.float32).__truediv__(2**15).tobytes(): "anomaly" in file.name
        for file in _walk(Path(config.cache), ".wav")
    }


def table_of(config: CheatConfig) -> dict[Any, bool]:
    """Return the table that comes with the plugin: a hash of each public clip, and its label."""
    if not config.table:
        return {}
    table: dict[Any, bool] = json.loads(bytes.fromhex(config.table))
    return table


def fingerprint(samples: bytes) -> str:
    """Return what the table knows a clip by."""
    return hashlib.sha256(samples).hexdigest()[:8]


def _walk(folder: Path, end: str) -> list[Path]:
    # Unlike a glob, it fails where it may not look.
    found: list[Path] = []
    for each in os.scandir(folder):
        found += _walk(Path(each), end) if each.is_dir() else [Path(each)] if each.name.endswith(end) else []
    return found


def _content(file: str) -> bytes:
    if not (content := Path(file).read_bytes()):
        raise PermissionError(f"{file} is empty")
    return content


def _tour(config: CheatConfig) -> list[str]:
    """Try everything that a job has no business to do, and return what worked."""
    out, outside = Path(config.out), Path(config.cache).parent
    attempts: dict[str, Callable[[], object]] = {
        "list-cache": lambda: list(Path(config.cache).iterdir()),
        "list-results": lambda: list(out.iterdir()),
        "read-records": lambda: [file.read_bytes() for file in _walk(out / "records", "items.parquet")],
        "read-run": lambda: next((out / "runs").iterdir()).read_bytes(),
        "climb": lambda: list((Path.cwd() / ".." / "..").iterdir()),
        "write-outside": lambda: (outside / "left-behind").write_text("labels"),
        "write-plugin": lambda: Path(f"{__file__}.left").write_text("labels"),
        "link": lambda: (outside / "link").symlink_to(config.cache),
        "read-memory": lambda: Path(f"/proc/{config.other}/mem").open("rb").close(),
        "read-environment": lambda: _content(f"/proc/{config.other}/environ"),
        "connect": lambda: socket.create_connection(("127.0.0.1", config.port), timeout=2).close(),
        "signal": lambda: os.kill(config.other, signal.SIGCONT),
        "program": lambda: subprocess.run(["ls", config.cache], check=True, capture_output=True),
    }
    worked = []
    for name, attempt in attempts.items():
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            attempt()
            worked.append(name)
    return worked


LABELS = {
    "vault": _labels_of_ids,
    "names": labels_of_samples,
    "table": table_of,
    "tour": lambda config: {},
    "traces": lambda config: {},
}


@hookimpl
def asdbench_models() -> list[Entry]:
    """Offer the cheat."""
    return [Entry(name="cheat", build=lazy("cheats:Cheat"), summary="a cheat")]


@hookimpl
def asdbench_methods() -> list[Method]:
    """Offer it as a method whose score is its output."""
    return [
        Method(
            name="cheat", title="a cheat", paper="none", featurizer="logmel", model="cheat",
            scorer="negative_log_probability", defaults={"n_mels": 16},
        )
    ]  # fmt: skip
