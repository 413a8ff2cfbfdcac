"""Writes a fitted detector as one ONNX file, from a wave to its score and verdict, and checks that it judges alike."""

from __future__ import annotations

import contextlib
import importlib
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from asdbench.core.environment import version_of
from asdbench.core.files import write_bytes
from asdbench.core.seeding import seed_for
from asdbench.data.prepare import calling
from asdbench.detector.assembly import arithmetic
from asdbench.errors import ConfigError, RunError, unknown
from asdbench.machine.conformal import threshold
from asdbench.machine.file import OwnDetector
from asdbench.machine.graph import WaveGraph, refused
from asdbench.machine.recordings import FOLDER, Source
from asdbench.machine.scoring import recordings_of, scores_of
from asdbench.machine.segments import items_of
from asdbench.plugin.entries import Selector
from asdbench.plugin.registry import Registry

OPSET = 20
"""ONNX operators; the first set with a Fourier transform along any axis."""
TOLERANCE = 1e-4
"""Largest difference of scores; see ``Exported.difference``."""
TINY = 1e-12
"""Smallest scale to divide by."""
GENERATED = 8
"""Waves that both are compared on where no recordings are given."""
MOST = 32
"""Recordings that both are compared on, where some are given."""
REPEATS = 5
"""Times that each wave is scored for the measured milliseconds."""
ERRORS_ALONE = 3
"""Severity from which onnxruntime logs."""
EXTRA = "the ONNX file needs packages that are not installed ({}); install them with: pip install 'asdbench[onnx]'"


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What ``asdbench export --json`` prints."""

    file: str
    method: str
    machine: str
    sample_rate: int
    length: int
    """Samples of the wave that it takes, ``[1, length]``."""
    threshold: float
    """A higher score is an anomaly."""
    promise: str
    compared_on: int
    """Waves that it was compared on."""
    difference: float
    """Largest difference of the scores of both, each as a share of the score, or of the standard deviation of the held-out
    scores if that is larger."""
    megabytes: float
    torch_ms: float
    """Median time for a wave, features included."""
    onnx_ms: float


@dataclass(frozen=True, kw_only=True)
class _Compared:
    difference: float
    torch_ms: float
    onnx_ms: float


def export(
    own: OwnDetector,
    to: Path,
    *,
    machine: str | None = None,
    waves: Sequence[NDArray[np.float32]] = (),
    threads: int = 1,
) -> Exported:
    """Write one ONNX file and check it with onnxruntime; the file is written only if it judges as the detector does.

    It takes ``wave`` float32 ``[1, length]``, in [-1, 1] at the rate of the detector, and gives ``score`` float32 ``[1]``
    and ``anomaly`` bool ``[1]``.

    Args:
        own: The detector, on the CPU.
        to: The ONNX file.
        machine: Whose threshold is inside; None: the only one.
        waves: What both are compared on, ``[length]`` each; empty: generated tones in noise.
        threads: CPU threads, for the measured milliseconds.

    Raises:
        ConfigError: The detector cannot be exported, it knows several machines and none is named, or the extra ``onnx`` is
            not installed; the message says why.
        PluginError: The method's own code fails.
        RunError: The file would judge otherwise, or cannot be written.
    """
    claim = _claim(own, machine)
    runtime = _imported("onnxruntime")
    program = _program(own, WaveGraph(own, claim=claim))
    for name, value in properties(own, claim=claim).items():
        program.model.metadata_props[name] = value
    content: bytes = program.model_proto.SerializeToString()
    chosen = list(waves) or generated(own)
    with _run_by_onnxruntime(own), arithmetic(threads=threads):
        session = _session(runtime, content, threads=threads)
        compared = _compared(own, session, waves=chosen, claim=claim)
    write_bytes(to, content)
    header = own.header
    return Exported(
        file=str(to),
        method=str(Selector(header.method, header.options)),
        machine=header.classes[claim],
        sample_rate=header.sample_rate,
        length=header.length,
        threshold=_threshold(own, claim),
        promise=str(own.promise(claim)),
        compared_on=len(chosen),
        difference=compared.difference,
        megabytes=len(content) / 1e6,
        torch_ms=compared.torch_ms,
        onnx_ms=compared.onnx_ms,
    )


def properties(own: OwnDetector, *, claim: int) -> dict[str, str]:
    """Return what the file says of itself, its metadata properties."""
    header, promise, rule = own.header, own.promise(claim), own.rule(claim)
    return {
        "asdbench": version_of("asdbench"),
        "method": str(Selector(header.method, header.options)),
        "name": header.name,
        "class": header.classes[claim],
        "sample_rate": str(header.sample_rate),
        "length": str(header.length),
        "channel": str(header.channel),
        "threshold": repr(_threshold(own, claim)),
        "false_alarms": repr(promise.rate),
        "confidence": repr(promise.confidence),
        "held_out": str(promise.recordings),
        "segments": str(header.usual),  # of a recording, up to which the promise holds
        "promise": str(promise),
    } | ({"alarm_after": str(rule.in_a_row), "alarms": own.stream(claim)} if rule else {})


def generated(own: OwnDetector) -> list[NDArray[np.float32]]:
    """Return tones in noise, ``[length]`` each, from faint to loud; the same for the same detector."""
    header = own.header
    generator = np.random.default_rng(seed_for(header.seed, "waves to compare"))
    time_s = np.arange(header.length) / header.sample_rate
    made = []
    for loudness in np.geomspace(0.003, 0.3, GENERATED):
        pitch_hz = generator.uniform(0.01, 0.4) * header.sample_rate
        noise = generator.normal(scale=0.3, size=header.length)
        wave = loudness * (np.sin(2 * np.pi * pitch_hz * time_s) + noise)
        made.append(np.clip(wave, -1, 1).astype(np.float32))
    return made


def waves_of(own: OwnDetector, place: Path, *, registry: Registry) -> list[NDArray[np.float32]]:
    """Return the first segments of some recordings under a place, ``[length]`` each.

    Raises:
        DataError: There are no recordings, or one cannot be read.
    """
    labels = Source(path=place)
    found = list(recordings_of(own, place, registry=registry, labels=labels))[:MOST]
    waves = []
    for each in found:
        with calling(FOLDER, to=f"read {each.file}"):
            wave, _ = each.dataset.examined(each.root, each.row.source)
        items = items_of(wave, own.detector, claim=0, columns={})
        waves.append(items[:1].raw()[0].numpy())
    return waves


def _claim(own: OwnDetector, machine: str | None) -> int:
    names = own.header.classes[: own.header.own]
    if machine is None and len(names) > 1:
        raise ConfigError(
            f"the detector has a threshold for each of {', '.join(names)}, and the ONNX file holds one; choose it with "
            "--machine"
        )
    if machine is not None and machine not in names:
        raise ConfigError(unknown("machine ID", machine, known=names))
    return 0 if machine is None else names.index(machine)


def _threshold(own: OwnDetector, claim: int) -> float:
    return threshold(own.normal(claim), above=own.promise(claim).above)


def _program(own: OwnDetector, graph: WaveGraph) -> Any:
    """Return what torch's exporter makes of a graph, a ``torch.onnx.ONNXProgram``."""
    for name in ("onnx", "onnxscript"):
        _imported(name)
    wave = torch.zeros(1, own.header.length)
    try:
        with _quiet(), torch.no_grad():
            return torch.onnx.export(
                graph,
                (wave,),
                dynamo=True,
                opset_version=OPSET,
                input_names=["wave"],
                output_names=["score", "anomaly"],
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise refused(own.detector.recipe, f"torch cannot trace it: {_cause(error)}") from error


def _session(runtime: Any, content: bytes, *, threads: int) -> Any:
    """Return what runs the file, an ``onnxruntime.InferenceSession``."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = ERRORS_ALONE
    return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


@contextlib.contextmanager
def _run_by_onnxruntime(own: OwnDetector) -> Iterator[None]:
    """Refuse a file that onnxruntime cannot read or run; its errors have no common root but ``Exception``."""
    kinds = vars(importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")).values()
    errors = tuple(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Exception))
    try:
        yield
    except errors as error:
        raise refused(own.detector.recipe, f"onnxruntime cannot run it: {error}") from error


def _compared(
    own: OwnDetector, session: Any, *, waves: Sequence[NDArray[np.float32]], claim: int
) -> _Compared:
    def by_torch(wave: NDArray[np.float32]) -> float:
        return float(scores_of(own, wave, claim=claim, columns={})[0])

    def by_onnx(wave: NDArray[np.float32]) -> float:
        return float(session.run(["score"], {"wave": wave[np.newaxis]})[0][0])

    limit = _threshold(own, claim)
    first, torch_ms = _timed(by_torch, waves)
    second, onnx_ms = _timed(by_onnx, waves)
    # A score near 0, for example a log-odds, has no digits of its own to compare.
    scale = np.maximum(np.maximum(np.abs(first), own.normal(claim).std()), TINY)
    difference = float((np.abs(first - second) / scale).max())
    if not difference <= TOLERANCE:
        raise RunError(
            f"the ONNX file would give other scores than the detector: they differ by {difference:.3g} of their size, more "
            f"than {TOLERANCE:g}; nothing is written"
        )
    verdicts = [bool(session.run(["anomaly"], {"wave": wave[np.newaxis]})[0][0]) for wave in waves]
    # Within the tolerance of the threshold either verdict is right.
    clear = np.abs(first - limit) > TOLERANCE * scale
    if np.any((first > limit)[clear] != np.array(verdicts)[clear]):
        raise RunError("the ONNX file would give other verdicts than the detector; nothing is written")
    return _Compared(difference=difference, torch_ms=torch_ms, onnx_ms=onnx_ms)


def _timed(
    score: Callable[[NDArray[np.float32]], float], waves: Sequence[NDArray[np.float32]]
) -> tuple[NDArray[np.float64], float]:
    """Return the scores, and the median milliseconds of one."""
    scores = np.array([score(wave) for wave in waves])
    taken = []
    for wave in [*waves] * REPEATS:
        started = time.perf_counter()
        score(wave)
        taken.append(time.perf_counter() - started)
    return scores, 1000 * float(np.median(taken))


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(EXTRA.format(error)) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's warnings back: they are about torch's own parts, and what it makes is checked."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _cause(error: BaseException) -> str:
    """Return the first line of the innermost cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().partition("\n")[0]
