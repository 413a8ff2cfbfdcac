"""``asdbench export``: the ONNX file judges as the detector does, and what cannot be exported says why."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from plant_folders import RATE, noise, record

from asdbench import ItemContext, Scorer, Selector, load_registry
from asdbench.cli import status_of
from asdbench.core.config import config_of, configure
from asdbench.detector.items import Items
from asdbench.errors import ConfigError, PluginError, RunError
from asdbench.machine import export as exporting
from asdbench.machine.export import TOLERANCE, export, generated, properties
from asdbench.machine.file import Header, OwnDetector, build, code_of, recipe_of
from asdbench.machine.graph import WaveGraph, aggregated, reason_against
from asdbench.machine.segments import items_of
from asdbench.machine.spectrum import bins_of

Capture = pytest.CaptureFixture[str]
PAGE = Path(__file__).parents[1] / "docs" / "own-machine.md"
NORMALS = 12
SMALL_SEGMENTS = "segment_s=0.5,segments=3,n_mels=32,n_fft=512,f_max=3900,width=0.5,depth=0.3"
"""Options of the encoder of segments."""
METHODS = (
    "logmel_knn",
    "logmel_knn[scorer.k=3,scorer.rescale=density]",
    "logmel_gmm",
    "logmel_mahalanobis[take=mean]",
    "logmel_knn[scorer=min_fusion,take=mean]",
    "modspec_knn",
    "modspec_lof[scorer.k=4]",
    "modspec_gmm",
    "modspec_mahalanobis",
    "autoencoder",
    "autoencoder_mse",
    "autoencoder_mahala",
    "autoencoder_mahala[select=clip]",
    "idnn",
    "conv_autoencoder[n_mels=64,width=8,layers=3,frames=8]",
    "aadcl[n_mels=64,width=16,layers=3]",
    "mobilenetv2[frames=8,momentum=0.9,aggregate=upper_half]",
    "stgram_afpa[heads=1,length_s=1]",
    "stgram_mfn[length_s=1]",
    "time_spectrum_fusion[length_s=1]",
    "complex_network[width=4,layers=2]",
    "incremental_classifier[width=4,layers=2]",
    "uada[width=4,layers=2]",
    "randconv_knn[kernels=8]",
    "direct_two_branch",
    "contrastive_ensemble[length_s=1,n_fft=512,n_mels=32,f_max=3900,width=0.25,embedding_dims=256]",
    f"ddcsad[{SMALL_SEGMENTS}]",
    f"serial_oe[{SMALL_SEGMENTS}]",
    f"serial_oe_wo_h[{SMALL_SEGMENTS}]",
)
"""Every kind of featurizer, model and scorer that can be exported, with options that change the arithmetic."""
DEEP = (
    "contrastive_ensemble",
    "ddcsad",
    "direct_two_branch",
    "mobilenetv2",
    "serial_",
    "stgram_mfn",
    "time_spectrum",
)
"""Beginnings of those with deep networks, which take torch's exporter many seconds; ``stgram_afpa`` stands for them."""


def waves(count: int, *, seed: int = 0) -> np.ndarray:
    """Hums in noise, ``[count, RATE]``, a second each."""
    time_s = np.arange(RATE) / RATE
    hums = [
        0.3 * np.sin(2 * np.pi * 300 * time_s) + noise(1, seed=seed * 1000 + k)[:RATE] for k in range(count)
    ]
    return np.clip(hums, -1, 1).astype(np.float32)


def items_over(detector: Any, many: np.ndarray, *, claims: Sequence[int]) -> Items:
    """Return waves as items of given classes."""
    items = items_of(many.reshape(-1), detector, claim=0, columns={"id": ""})
    items.claim = torch.tensor(claims)
    return items


def untrained(method: str, *, classes: int = 2) -> OwnDetector:
    """Return a detector with random weights, whose featurizer and scorer are fitted to a few waves."""
    recipe = recipe_of(load_registry(), Selector.parse(method))
    header = Header(
        name="pump7",
        method=recipe.method,
        options=dict(Selector.parse(method).options),
        code=code_of(recipe),
        versions={"asdbench": "0"},
        sample_rate=RATE,
        channel=0,
        length=RATE,
        claims=["id"],
        classes=[f"{k:02}" for k in range(max(classes, recipe.classes))],
        own=classes,
        false_alarms=0.3,
        confidence=0.9,
        usual=1,
        recordings=NORMALS,
        data="0" * 16,
        seed=3,
    )
    detector = build(recipe, header, device="cpu")
    claims = [k % len(header.classes) for k in range(NORMALS)]
    train = items_over(detector, waves(NORMALS), claims=claims)
    detector.featurizer.fit(train)
    if recipe.model.name == "statistics":
        detector.model.fit(train, train[:0], trainer=None)  # type: ignore[arg-type]
    detector.root.train()
    with torch.no_grad():  # batch norms must see the features, or all scores would be the same
        for _ in range(3):
            detector.model.outputs(train)
    detector.root.eval()
    detector.fit_scorer(train)
    held = items_over(detector, waves(NORMALS, seed=1), claims=[k % classes for k in range(NORMALS)])
    scores = detector.score(held)
    levels = np.zeros((classes, bins_of(RATE)), np.float32)
    return OwnDetector(
        header=header, detector=detector, scores=scores, claims=held.claim.numpy(), levels=levels
    )


def assert_alike(found: np.ndarray, expected: np.ndarray, *, own: OwnDetector) -> None:
    assert np.ptp(expected) > 0
    scale = np.maximum(np.abs(expected), own.scores.std())
    # A small cosine distance is 1 minus a number near 1, of which float32 knows no more than this.
    rounding = np.finfo(np.float32).eps
    assert (np.abs(found - expected) <= TOLERANCE * scale + rounding).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_graph_gives_the_scores_and_verdicts_of_its_detector(method: str) -> None:
    own, new = untrained(method), [*waves(3, seed=2), *generated(untrained_length())[::3]]
    for claim in (0, 1):
        graph = WaveGraph(own, claim=claim)
        items = items_over(own.detector, np.stack(new), claims=[claim] * len(new))
        expected = own.detector.score(items)
        with torch.no_grad():
            pairs = [graph(torch.from_numpy(wave[np.newaxis])) for wave in new]
        assert_alike(np.array([float(score) for score, _ in pairs]), expected, own=own)
        limit = float(graph.threshold)
        assert limit in own.normal(claim)
        assert [bool(anomaly) for _, anomaly in pairs] == (expected > limit).tolist()


def untrained_length() -> Any:
    """What ``generated`` reads of a detector."""
    return type("Own", (), {"header": type("Header", (), {"seed": 1, "length": RATE, "sample_rate": RATE})})


def exported(method: str, to: Path) -> None:
    """Export a detector and compare scores, verdicts and metadata with those of the detector."""
    own = untrained(method)
    found = export(own, to, machine="01")
    assert found.difference <= TOLERANCE
    assert found.megabytes == to.stat().st_size / 1e6
    session = onnxruntime.InferenceSession(to.read_bytes(), providers=["CPUExecutionProvider"])
    [given] = session.get_inputs()
    assert (given.name, given.shape, given.type) == ("wave", [1, RATE], "tensor(float)")
    assert [each.name for each in session.get_outputs()] == ["score", "anomaly"]
    assert session.get_modelmeta().custom_metadata_map == properties(own, claim=1)
    new = waves(4, seed=5)
    pairs = [session.run(None, {"wave": wave[np.newaxis]}) for wave in new]
    expected = own.detector.score(items_over(own.detector, new, claims=[1] * 4))
    assert_alike(np.array([score[0] for score, _ in pairs]), expected, own=own)
    assert [bool(anomaly[0]) for _, anomaly in pairs] == (expected > found.threshold).tolist()


@pytest.mark.parametrize(
    "method",
    [pytest.param(method, marks=[pytest.mark.slow] if method.startswith(DEEP) else []) for method in METHODS],
)
def test_every_method_that_can_be_exported_judges_alike_in_onnx(method: str, tmp_path: Path) -> None:
    exported(method, tmp_path / "pump.onnx")


def test_every_method_that_can_be_exported_is_tried(reasons: Mapping[str, str]) -> None:
    registry = load_registry()
    names = {name for name, reason in reasons.items() if not reason}
    recipes = [recipe_of(registry, Selector.parse(method)) for method in (*METHODS, *names)]
    tried, exportable = recipes[: len(METHODS)], recipes[len(METHODS) :]
    assert {each.scorer.name for each in exportable} <= {each.scorer.name for each in tried}
    networks = {(each.featurizer.name, each.model.name) for each in tried}
    assert {(each.featurizer.name, each.model.name) for each in exportable} <= networks


SCORERS = (
    "knn[k=3]",
    "knn[metric=euclidean,k=2,normalize=true]",
    "knn[metric=scaled_cosine,per=pool]",
    "knn[rescale=density]",
    "knn[rescale=varmin,metric=euclidean]",
    "knn[rescale=log_varmin,k=2]",
    "knn[per_segment=true]",
    "lof[k=5]",
    "lof[k=5,metric=cosine]",
    "kmeans[centres=3]",
    "kmeans[centres=3,metric=euclidean]",
    "gmm[components=2]",
    "gmm[components=2,covariance=diag,normalize=false]",
    "mahalanobis",
    "pca_residual[components=2]",
    "min_fusion",
    "source_centres",
)


@pytest.mark.parametrize("text", SCORERS)
def test_the_graph_of_a_scorer_gives_its_scores(text: str) -> None:
    selector = Selector.parse(text)
    built = load_registry().build("scorer", selector.name)
    scorer: Scorer = configure(config_of(built), selector.options, of=selector.name)
    generator = np.random.default_rng(0)
    learned = {scorer.on: generator.normal(size=(30, 12, 6)).astype(np.float32)}
    context = ItemContext(claim=np.arange(30) % 2, columns={})
    state = scorer.fit(learned, context)
    new = {scorer.on: generator.normal(size=(5, 12, 6)).astype(np.float32)}
    for claim in (0, 1):
        expected = scorer.score(state, new, ItemContext(claim=np.full(5, claim), columns={}))
        found = scorer.graph(state, claim=claim)({scorer.on: torch.from_numpy(new[scorer.on])})
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-12)


def test_segments_become_one_score_as_in_the_detector() -> None:
    from asdbench.detector.detector import aggregate

    scores = np.random.default_rng(0).normal(size=(2, 5))
    for how in ("mean", "max", "upper_half", "lower_half"):
        found = aggregated(torch.from_numpy(scores), how).numpy()
        np.testing.assert_allclose(found, aggregate(scores, how))


@pytest.fixture(scope="module")
def press(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A folder with a detector file of one machine, and the recordings that it was fitted to."""
    place = tmp_path_factory.mktemp("press")
    for k, wave in enumerate(waves(NORMALS)):
        record(place / f"train/{k:02}.wav", samples=wave)
    words = ["--data", str(place / "train"), "--name", "press", "--out", str(place / "press.safetensors")]
    assert status_of(["fit", "-p", "logmel_knn", *words, "--hold", "50%"]) == 0
    return place


@pytest.fixture(scope="module")
def reasons() -> Mapping[str, str]:
    """Why each shipped method cannot be exported; empty: it can."""
    registry = load_registry()
    shipped = [*registry.names("method"), *registry.names("ensemble")]
    return {name: reason_against(registry, name) for name in shipped}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setenv("ASDBENCH_CACHE", str(cache))


def run(press: Path, to: Path, *words: str, capsys: Capture) -> tuple[int, str, str]:
    """Return the exit status of ``asdbench export``, and what it prints."""
    capsys.readouterr()
    status = status_of(["export", "--detector", str(press / "press.safetensors"), "--onnx", str(to), *words])
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def test_the_command_compares_on_recordings_and_tells_size_and_time(
    press: Path, tmp_path: Path, capsys: Capture
) -> None:
    to = tmp_path / "press.onnx"
    status, shown, _ = run(press, to, "--data", str(press / "train"), "--json", capsys=capsys)
    assert status == 0
    found = json.loads(shown)
    assert (found["method"], found["machine"], found["length"]) == ("logmel_knn", "00", RATE)
    assert found["compared_on"] == NORMALS
    assert 0 <= found["difference"] <= TOLERANCE
    assert found["onnx_ms"] > 0
    assert found["torch_ms"] > 0
    model = onnx.load(to)
    onnx.checker.check_model(model, full_check=True)
    said = {each.key: each.value for each in model.metadata_props}
    assert float(said["threshold"]) == found["threshold"]
    assert said["promise"] == found["promise"]
    assert said["promise"].startswith(
        "at most 39.3 % false alarms with 95 % confidence: 6 held-out recordings"
    )


def test_a_damaged_file_is_refused_as_by_score(press: Path, tmp_path: Path, capsys: Capture) -> None:
    torn = tmp_path / "press.safetensors"
    torn.write_bytes((press / "press.safetensors").read_bytes()[:-100])
    status, _, message = run(tmp_path, tmp_path / "x.onnx", capsys=capsys)
    assert status == 2
    assert status_of(["score", "--detector", str(torn), str(press / "train")]) == 2
    assert capsys.readouterr().err == message
    assert "press.safetensors is truncated, damaged or not a detector file" in message
    assert not (tmp_path / "x.onnx").exists()


def test_a_file_that_would_judge_otherwise_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = untrained("logmel_knn", classes=1)
    monkeypatch.setattr(exporting, "TOLERANCE", -1.0)
    with pytest.raises(
        RunError, match=r"would give other scores than the detector: they differ by .*; nothing"
    ):
        export(own, tmp_path / "x.onnx")
    assert not (tmp_path / "x.onnx").exists()


def test_one_machine_of_several_is_chosen(tmp_path: Path) -> None:
    own = untrained("logmel_knn")
    with pytest.raises(ConfigError, match=r"a threshold for each of 00, 01, .*; choose it with --machine"):
        export(own, tmp_path / "x.onnx")
    with pytest.raises(ConfigError, match=r"unknown machine ID '7' \(known: 00, 01\)"):
        export(own, tmp_path / "x.onnx", machine="7")


def test_the_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = untrained("logmel_knn", classes=1)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # Python refuses to import it then
    with pytest.raises(
        ConfigError, match=r"not installed \(.*onnxruntime.*\); .* pip install 'asdbench\[onnx\]'"
    ):
        export(own, tmp_path / "x.onnx")


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        (
            "glow_aff[n_mels=64,frames=16,frames_hop=16,levels=2,steps=3,hidden=32]",
            "glow_aff.* cannot be exported: it takes the flow of each item's class in a loop over values",
        ),
        ("logmel_knn[scorer=kde]", "cannot be exported: its scorer computes scores in numpy alone"),
        ("covariance_knn", "cannot be exported: ONNX has no eigenvalues"),
        ("idnn[precision=bf16]", "fitted with precision=bf16, and a graph computes in fp32"),
    ],
)
def test_a_detector_that_is_no_graph_says_why(method: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=reason):
        export(untrained(method, classes=1), tmp_path / "x.onnx")


class Branching(torch.nn.Module):
    """A scorer that torch cannot trace."""

    def forward(self, outputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return something that depends on a value."""
        [values] = outputs.values()
        return values.sum(dim=2) if float(values.sum()) > 0 else values.mean(dim=2)


class Unusual(torch.nn.Module):
    """A scorer with an operator that onnxruntime has in float32 alone."""

    def forward(self, outputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the error function in float64."""
        [values] = outputs.values()
        return values.double().erf().mean(dim=2)


@pytest.mark.parametrize(
    ("scorer", "reason"), [(Branching, "torch cannot trace it: "), (Unusual, "onnxruntime cannot run it: ")]
)
def test_what_cannot_be_traced_or_run_is_refused_with_its_reason(
    scorer: type[torch.nn.Module], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = untrained("logmel_knn[take=mean]", classes=1)
    monkeypatch.setattr(type(own.detector.scorer), "graph", lambda self, state, *, claim: scorer())
    monkeypatch.setattr(own.detector.model, "outputs", lambda items: {"embedding": items.features()})
    with pytest.raises(ConfigError, match=rf"logmel_knn.* cannot be exported: {reason}"):
        export(own, tmp_path / "x.onnx")


def test_a_file_that_onnxruntime_cannot_score_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = untrained("logmel_knn[take=mean]", classes=1)
    monkeypatch.setattr(exporting, "generated", lambda own: [np.zeros(7, np.float32)])
    monkeypatch.setattr(exporting, "scores_of", lambda *_, **__: np.zeros(1))
    with pytest.raises(ConfigError, match=r"(?s)onnxruntime cannot run it: .* Got: 7 Expected: 8000"):
        export(own, tmp_path / "x.onnx")
    assert not (tmp_path / "x.onnx").exists()


def test_a_scorer_whose_graph_fails_is_blamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = untrained("logmel_knn[take=mean]", classes=1)
    monkeypatch.setattr(type(own.detector.scorer), "graph", lambda self, state, *, claim: state["absent"])
    with pytest.raises(PluginError, match=r"method logmel_knn.* cannot be exported: KeyError: 'absent'"):
        export(own, tmp_path / "x.onnx")


def test_the_page_lists_why_methods_cannot_be_exported(reasons: Mapping[str, str]) -> None:
    registry = load_registry()
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", PAGE.read_text("utf-8").partition("## 7.")[2], re.MULTILINE)
    needs_file = {name for name in registry.names("method") if registry.method(name).requires}
    assert dict(rows) == {
        name: reason for name, reason in reasons.items() if reason and name not in needs_file
    }
    assert (
        "| all that need a file of weights | its option weights (or encoder) names a file" in PAGE.read_text()
    )
    for name in needs_file:
        assert re.fullmatch("its option .* names a file, which a detector file does not hold", reasons[name])
    for name in ("logmel_knn", "modspec_knn", "autoencoder", "idnn", "stgram_afpa", "stgram_mfn"):
        assert not reasons[name]
