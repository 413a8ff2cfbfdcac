"""Figures of finished runs: every kind on records built by hand, the points of curves, what is left out."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from made_runs import (
    AUC_OF_SECTIONS,
    GROUPS,
    TARGETS,
    classification,
    clips,
    detection,
    ensemble_of,
    holdout,
    log_of,
    recorded,
    row_of,
    run_of,
)
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle, StepPatch
from matplotlib.text import Text

from asdbench.errors import NothingToDraw
from asdbench.metrics import auc, average_precision, decisions, equal_error
from asdbench.plugin.registry import Registry, load_registry
from asdbench.results.plots import draw
from asdbench.results.record import RecordedRun
from asdbench_leaderboards.figures.curves import mean_precision, mean_roc, section_share
from asdbench_leaderboards.figures.panels import (
    COLOURS,
    LINE_WIDTH,
    letters_across,
    method_label,
    short,
    title_of,
)
from asdbench_leaderboards.figures.scored import Scored, measured_levels, scored

DETECTION = {"results", "roc", "error_rates", "scores", "training"}
HOLDOUT = {"results", "precision_recall", "scores", "training"}
CLASSIFICATION = {"results", "confusion", "groups", "training"}
ALL = DETECTION | HOLDOUT | CLASSIFICATION


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


def drawn(registry: Registry, name: str, run: RecordedRun) -> Figure:
    """The figure, laid out; a part that does not fit raises a warning, which fails the test."""
    figure: Figure = registry.build("figure", name)(run)
    figure.canvas.draw()
    return figure


def panels(figure: Figure) -> dict[str, Axes]:
    shown = (axes for axes in figure.axes if axes.axison or axes.texts)
    return {axes.get_title() or axes.get_title("left"): axes for axes in shown}


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for one in figure.legends for text in one.get_texts()]


def points(axes: Axes, line: int) -> list[tuple[float, float]]:
    return [(round(float(x), 2), round(float(y), 1)) for x, y in np.asarray(axes.lines[line].get_xydata())]


# All kinds of figures and of runs.


@pytest.mark.parametrize(
    ("run", "expected"),
    [(detection(), DETECTION), (holdout(), HOLDOUT), (classification(), CLASSIFICATION)],
    ids=["detection", "hold-out", "classification"],
)
def test_a_run_has_the_figures_of_its_kind_and_no_others(
    registry: Registry, run: RecordedRun, expected: set[str], tmp_path: Path
) -> None:
    found = draw(registry, run, to=tmp_path, suffix="svg")
    assert {one.name for one in found} == set(registry.names("figure")) >= ALL
    assert {one.name for one in found if one.file is not None} & ALL == expected
    for name in expected:
        assert "<!-- knn on made" in (tmp_path / f"{name}.svg").read_text("utf-8")


@pytest.mark.parametrize("groups", [GROUPS, ()])
def test_a_run_without_finished_jobs_draws_only_results(
    registry: Registry, groups: tuple[str, ...], tmp_path: Path
) -> None:
    nothing = clips(("fan", "00", [1], [2])).iloc[:0]
    run = run_of(recorded(nothing), recorded(pd.DataFrame(), label="idnn"), groups=groups)
    assert {one.name for one in draw(registry, run, to=tmp_path) if one.file} == {"results"}


@pytest.mark.parametrize("name", ["roc", "error_rates", "scores"])
def test_eight_methods_with_long_names_on_many_machines_fit(registry: Registry, name: str) -> None:
    machines = [f"machine_type_{number}" for number in range(25 if name == "roc" else 7)]
    items = clips(*((machine, "00", [1, 2], [1.5, 3]) for machine in machines))
    labels = [f"ensemble[preset=without_the_fusion_model,epochs={number},lr=0.0001]" for number in range(8)]
    methods = [recorded(items, label=label, about={"reduced": True}) for label in labels]
    figure = drawn(registry, name, run_of(*methods, results=AUC_OF_SECTIONS))
    assert set(machines) <= set(panels(figure))


def test_titles_name_dataset_and_partial_data_and_labels_name_reduced_settings(registry: Registry) -> None:
    items = clips(("fan", "00", [1, 2], [3, 4]))
    method = recorded(items, logs=[log_of(1.0)], about={"reduced": True})
    run = run_of(method, results=AUC_OF_SECTIONS, complete=False)
    for name in DETECTION - {"results"}:
        figure = drawn(registry, name, run)
        shown = [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]
        assert any(text.startswith("knn on made, partial data") for text in shown), name
        assert any("knn (reduced)" in text for text in shown), name


def test_long_labels_are_broken_where_options_end_and_flags_are_never_cut() -> None:
    assert short("ensemble[preset=plain,epochs=3]", width=20) == "ensemble\n[preset=plain,\nepochs=3]"
    assert short("a" * 30, width=10, lines=2) == f"{'a' * 10}\n{'a' * 9}…"
    assert short("$x$") == r"\$x\$"
    long = recorded(pd.DataFrame(), label="a" * 300, about={"reduced": True, "approximate": "a guess"})
    label = method_label(run_of(long).document, "a" * 300, width=20)
    assert label.endswith("…\n(reduced)\n(approximate)")


# Precision and recall.


def test_the_curve_passes_through_the_points_of_the_worked_example(registry: Registry) -> None:
    figure = drawn(registry, "precision_recall", holdout())
    [axes] = figure.axes
    curve, circle, chance = axes.lines
    assert points(axes, 0) == [(0, 100), (50, 100), (50, 50), (100, 66.7), (100, 50)]
    assert curve.get_drawstyle() == "steps-pre"
    assert points(axes, 1) == [(100, 66.7)]
    assert circle.get_marker() == "o"
    assert set(np.asarray(chance.get_ydata())) == {50.0}
    assert legend(figure) == ["knn, AP 83.3 %", "chance, 50.0 %"]


def test_the_circle_is_at_the_threshold_that_the_run_recorded(registry: Registry) -> None:
    [axes] = drawn(registry, "precision_recall", holdout(thresholds=[0.8])).axes
    assert points(axes, 1) == [(50, 100)]


def test_several_seeds_are_thin_lines_around_their_mean(registry: Registry) -> None:
    run = holdout({0: [0.1, 0.4, 0.35, 0.8], 1: [0.1, 0.2, 0.3, 0.4]})
    [axes] = drawn(registry, "precision_recall", run).axes
    thin, _, other, _, mean, _ = axes.lines
    assert max(thin.get_linewidth(), other.get_linewidth()) < mean.get_linewidth()
    assert points(axes, 4) == [(0, 100), (50, 100), (100, 83.3)]


def test_the_area_under_the_mean_precision_is_the_mean_average_precision() -> None:
    random = np.random.default_rng(0)
    anomalous = random.random(60) < 0.3
    seeds = [np.round(random.normal(size=60), 1) for _ in range(4)]  # with ties
    recall = np.arange(1, anomalous.sum() + 1) / anomalous.sum()
    area = mean_precision([decisions(anomalous, scores) for scores in seeds], recall).mean()
    assert area == pytest.approx(np.mean([average_precision(anomalous, scores) for scores in seeds]))


# ROC curves.


def test_roc_curves_of_sections_on_different_scales_are_not_mixed(registry: Registry) -> None:
    run = detection(clips(("fan", "00", [1, 2], [3, 4]), ("fan", "02", [10, 20], [30, 40])))
    axes = panels(drawn(registry, "roc", run))["fan"]
    line = np.asarray(axes.lines[0].get_xydata())
    assert line[0].tolist() == [0, 0]
    assert set(line[1:, 1]) == {100}


def test_the_area_of_the_mean_roc_curve_is_the_mean_auc() -> None:
    random = np.random.default_rng(1)
    section = np.repeat([0, 1, 2], [20, 40, 60])
    anomalous = random.random(120) < 0.4
    scores = np.round(random.normal(size=120) + anomalous, 1)
    part = Scored(is_anomaly=anomalous, scores=scores, section=section, sections=3)
    places = np.linspace(0, 1, 10_001)
    curve = mean_roc([part], places)
    assert curve is not None
    assert (curve.curves, curve.left_out) == (3, 0)
    single = [auc(anomalous[section == code], scores[section == code]) for code in range(3)]
    assert np.trapezoid(curve.values, places) == pytest.approx(np.mean(single), abs=1e-3)
    assert curve.area == pytest.approx(np.mean(single))


def test_sections_without_both_classes_are_left_out_of_roc_curves_with_a_remark(registry: Registry) -> None:
    items = clips(("fan", "00", [1], [2]), ("fan", "02", [], [3, 4]), ("valve", "00", [1, np.nan], []))
    found = panels(drawn(registry, "roc", detection(items)))
    assert texts(found["fan"]) == ["100.0 %", "1 section without both classes"]
    assert ["no section has scores" in text.replace("\n", " ") for text in texts(found["valve"])] == [True]
    nothing = detection(clips(("fan", "00", [1, 2], [np.nan])))
    of_both = "no group has known scores of normal and of anomalous items"
    for name, why in {"roc": of_both, "error_rates": of_both, "confusion": "methods are detectors"}.items():
        with pytest.raises(NothingToDraw, match=why):
            drawn(registry, name, nothing)


def test_tested_normals_of_a_hold_out_protocol_give_one_curve_of_all_items(registry: Registry) -> None:
    run = holdout()
    both = recorded(run.methods[0].validation.assign(recording=["a", "a", "b", "b"]))
    for name in ("roc", "error_rates"):
        found = panels(drawn(registry, name, RecordedRun(document=run.document, methods=[both])))
        assert list(found) == [""]
    # At 0.4 one anomaly of two is missed, and one normal of two raises an alarm.
    assert texts(found[""]) == ["50.0 %"]


def test_the_results_mark_a_method_without_a_bar(registry: Registry) -> None:
    knn, idnn = recorded(clips(("fan", "00", [1, 2], [3, 4]))), recorded(pd.DataFrame(), label="idnn")
    undefined = msgspec.structs.replace(row_of("auc", None), method="idnn")
    for rows in ([], [undefined]):
        figure = drawn(registry, "results", run_of(knn, idnn, results=[row_of("auc"), *rows]))
        assert legend(figure) == ["knn", "idnn (nothing to draw)"]
        colours = [
            to_hex(patch.get_facecolor(), keep_alpha=True) for patch in figure.legends[0].get_patches()
        ]
        assert colours == [f"{COLOURS[0].lower()}ff", "#00000000"]


def test_scores_name_a_method_without_scores_and_the_reason(registry: Registry) -> None:
    items, why = (
        clips(("fan", "00", [1, 2], [3, 4])),
        "needs at least 2 classes to separate, found 1 (fan/00)",
    )
    idnn = recorded(items.iloc[:0], label="idnn[epochs=3]", about={"ungraded": why, "reduced": True})
    figure = drawn(registry, "scores", run_of(recorded(items), idnn, results=AUC_OF_SECTIONS))
    assert (figure.axes[0].get_ylabel(), figure.axes[0].get_xlabel()) == ("knn\nshare, %", "anomaly score")
    assert [text.replace("\n", " ") for text in texts(figure.axes[1])] == [why, "idnn[epochs=3] (reduced)"]


def test_a_method_without_scores_stays_in_the_legend(registry: Registry) -> None:
    items = clips(("fan", "00", [1, 2], [3, 4]))
    run = run_of(recorded(items), recorded(items.iloc[:0], label="idnn"), results=AUC_OF_SECTIONS)
    assert legend(drawn(registry, "roc", run))[:2] == ["knn, AUC 100.0 %", "idnn (nothing to draw)"]
    assert legend(drawn(registry, "error_rates", run))[:2] == ["knn", "idnn (nothing to draw)"]


def test_the_legend_of_roc_curves_gives_the_auc_of_the_table_and_each_panel_its_own(
    registry: Registry,
) -> None:
    items = clips(("fan", "00", [1, 3], [2, 4]), ("valve", "00", [1, 2], [3, 4]))
    run = run_of(
        recorded(items), recorded(items, label="idnn"), results=[*AUC_OF_SECTIONS, row_of("auc", 0.8)]
    )
    figure = drawn(registry, "roc", run)
    assert legend(figure)[:2] == ["knn, AUC 80.0 %", "idnn, AUC 87.5 %"]  # of idnn there is no result
    assert [texts(axes) for axes in panels(figure).values()] == [["75.0 %"] * 2, ["100.0 %"] * 2]


@pytest.mark.parametrize("name", ["roc", "error_rates", "precision_recall"])
def test_all_methods_have_lines_of_one_width(registry: Registry, name: str) -> None:
    [first] = holdout().methods
    both = first.validation.assign(recording="a")
    methods = [recorded(both, label=label, validation=first.validation) for label in ("knn", "lof", "idnn")]
    figure = drawn(
        registry, name, RecordedRun(document=run_of(*methods, groups=()).document, methods=methods)
    )
    curves = [line for line in figure.axes[0].lines if len(np.asarray(line.get_xdata())) > 2]
    assert len(curves) >= 3
    assert {line.get_linewidth() for line in curves} == {LINE_WIDTH}


def test_a_title_names_a_single_method_and_the_options_of_the_dataset() -> None:
    one, two = recorded(pd.DataFrame(), label="knn[k=3]"), recorded(pd.DataFrame(), label="idnn")
    document = run_of(one).document
    data = msgspec.structs.replace(document.run, dataset_options={"snr_db": "6", "machines": "fan"})
    assert title_of(msgspec.structs.replace(document, run=data)) == "knn[k=3] on made[machines=fan,snr_db=6]"
    assert title_of(run_of(one, two).document) == "made"


def test_a_long_title_of_the_results_is_broken_and_still_says_that_data_are_partial(
    registry: Registry,
) -> None:
    items = clips(("fan", "00", [1, 2], [3, 4]))
    run = run_of(recorded(items), results=AUC_OF_SECTIONS, complete=False)
    options = {f"option_{number}": "+".join(["machine"] * 4) for number in range(5)}
    document = msgspec.structs.replace(
        run.document, run=msgspec.structs.replace(run.document.run, dataset_options=options)
    )
    figure = registry.build("figure", "results")(RecordedRun(document=document, methods=run.methods))
    title = figure.axes[0].get_title(loc="left")
    assert title.replace("\n", "").endswith("option_4=machine+machine+machine+machine], partial data")
    assert max(map(len, title.split("\n"))) <= letters_across(figure)


@pytest.mark.parametrize("run", [detection(), holdout(), classification()], ids=["clips", "windows", "faces"])
def test_no_axes_are_empty_even_of_a_method_without_scores(registry: Registry, run: RecordedRun) -> None:
    [method] = run.methods
    failed = recorded(method.items.iloc[:0], label="idnn", validation=method.validation.iloc[:0])
    document = msgspec.structs.replace(
        run.document,
        methods=run.document.methods | {"idnn": failed.record.method},
        summary=run.document.summary | {"idnn": {}},
    )
    both = RecordedRun(document=document, methods=[method, failed])
    every: list[Axes] = []
    for name in ALL:
        with contextlib.suppress(NothingToDraw):
            every += drawn(registry, name, both).axes
    assert every
    assert all(axes.has_data() or not axes.axison for axes in every)


def test_a_section_is_given_by_the_columns_of_the_pauc() -> None:
    def levels(*measured: tuple[str, str]) -> tuple[str, ...]:
        rows = [row_of(metric, groups={level: "x"}) for metric, level in measured]
        return measured_levels(run_of(results=rows).document)

    assert levels(("auc", "domain"), ("pauc", "section"), ("pauc", "machine")) == ("machine", "section")
    assert levels(("auc", "machine"), ("auc", "domain")) == ("machine", "domain")
    assert levels() == ("machine", "section")
    assert measured_levels(holdout().document) == ()


# False alarms and misses.


def test_false_alarms_and_misses_cross_at_the_equal_error_rate(registry: Registry) -> None:
    items = clips(("fan", "00", [0, 1, 2, 5], [3, 4, 6, 10]), ("fan", "02", [0, 70], [40, 100]))
    figure = drawn(registry, "error_rates", detection(items))
    axes = panels(figure)["fan"]
    alarms, misses, circle = axes.lines
    # Shares of the section's eight and four items that score lower.
    normal, anomalous = np.array([0, 1, 2, 5, 0, 4]) / 8, np.array([3, 4, 6, 7, 2, 6]) / 8
    thresholds = np.asarray(alarms.get_xdata()) / 100
    assert np.asarray(alarms.get_ydata()) == pytest.approx(
        [100 * (normal >= threshold).mean() for threshold in thresholds]
    )
    assert np.asarray(misses.get_ydata()) == pytest.approx(
        [100 * (anomalous < threshold).mean() for threshold in thresholds]
    )
    error, at = equal_error(np.arange(12) >= 6, np.concatenate([normal, anomalous]))
    assert np.asarray(circle.get_xydata()) == pytest.approx(np.array([[100 * at, 100 * error]]))
    assert texts(axes) == [f"{100 * error:.1f} %"]


def test_a_score_becomes_the_share_of_its_sections_items_that_score_lower() -> None:
    part = Scored(
        is_anomaly=np.array([False, True, True, True, False]),
        scores=np.array([5.0, 5.0, 7.0, 1e9, 3.0]),
        section=np.array([0, 0, 2, 0, 0]),
        sections=3,
    )
    assert section_share(part).scores.tolist() == [0.25, 0.25, 0, 0.75, 0]


def test_an_outlier_does_not_squeeze_the_error_rates_into_a_corner(registry: Registry) -> None:
    random = np.random.default_rng(0)
    normal, anomalous = random.normal(size=50), random.normal(size=50) + 2
    both = [detection(clips(("fan", "00", normal, [*anomalous, outlier]))) for outlier in (10.0, 1e9)]
    lines = [panels(drawn(registry, "error_rates", run))["fan"].lines for run in both]
    for usual, squeezed in zip(*lines, strict=True):
        assert np.array_equal(np.asarray(usual.get_xydata()), np.asarray(squeezed.get_xydata()))
    alarms, _, circle = lines[0]
    assert 25 < float(np.asarray(circle.get_xdata())[0]) < 75
    assert np.ptp(np.asarray(alarms.get_ydata())) == 100


# Histograms.


def test_items_with_secret_labels_are_left_out_of_every_figure_of_scores() -> None:
    labels = pd.array(["normal", None, "anomaly", None], dtype="string")
    table = pd.DataFrame({"label": labels, "score_1": [0.1, 0.2, 0.3, 0.4]})
    assert scored(table, 1).is_anomaly.tolist() == [False, True]
    secret = scored(table.assign(label=pd.array([None] * 4, dtype="string")), 1)
    assert (secret.is_anomaly.tolist(), secret.scores.tolist()) == ([], [])


def heights(axes: Axes) -> list[float]:
    """The sum of each filled histogram."""
    steps = [patch for patch in axes.patches if isinstance(patch, StepPatch) and patch.get_fill()]
    return [float(np.sum(patch.get_data()[0])) for patch in steps]


def test_histograms_hold_all_items_of_a_class_and_show_the_threshold(registry: Registry) -> None:
    found = panels(drawn(registry, "scores", holdout({3: [0.1, 0.4, 0.35, 0.8]}, thresholds=[0.35])))
    assert list(found) == ["validation items", "test items"]
    assert heights(found["validation items"]) == pytest.approx([100, 100])
    assert heights(found["test items"]) == pytest.approx([100])
    assert [points(axes, 0) for axes in found.values()] == [[(0.35, 0), (0.35, 1)]] * 2


def test_scores_over_decades_have_a_logarithmic_axis_and_equal_scores_are_one_bar(registry: Registry) -> None:
    items = clips(
        ("fan", "00", [0.001, 1], [1000]), ("pump", "00", [-1, 1], [1000]), ("valve", "00", [0, 0], [0])
    )
    found = panels(drawn(registry, "scores", detection(items)))
    assert {name: axes.get_xscale() for name, axes in found.items()} == {
        "fan": "log",
        "pump": "linear",
        "valve": "linear",
    }
    assert heights(found["fan"]) == heights(found["valve"]) == pytest.approx([100, 100])


# Training.


def test_a_panel_shows_the_mean_of_all_models_within_their_band(registry: Registry) -> None:
    logs = [log_of(4.0, 2.0, 1.0, e3=0.5), log_of(8.0, 6.0, e2=0.7), []]
    record = recorded(clips(("fan", "00", [1], [2])), logs=logs)
    figure = drawn(registry, "training", run_of(record))
    found = panels(figure)
    assert list(found) == ["adam", "validation"]
    assert points(found["adam"], 0) == [(1, 6), (2, 4), (3, 1)]
    [band] = found["adam"].collections
    vertices = {tuple(vertex) for vertex in np.asarray(band.get_paths()[0].vertices).tolist()}
    assert {(1, 4), (1, 8), (2, 2), (2, 6), (3, 1)} <= vertices
    assert points(found["validation"], 0) == [(2, 0.7), (3, 0.5)]
    assert figure.subfigs[0].get_suptitle() == "knn, 2 models"


def test_stages_follow_one_another_behind_a_divider(registry: Registry) -> None:
    log = [*log_of(3.0, 2.0, stage="pretrain"), *log_of(9.0, stage="fusion")]
    log[-1].losses["r1"] = 0.25
    record = recorded(clips(("fan", "00", [1], [2])), logs=[log])
    found = panels(drawn(registry, "training", run_of(record)))
    assert points(found["adam"], 0) == [(1, 3), (2, 2)]
    assert points(found["adam"], 1) == [(3, 9)]
    assert points(found["adam"], 2) == [(2.5, 0), (2.5, 1)]
    assert points(found["r1"], 0) == [(3, 0.2)]
    assert texts(found["r1"]) == ["pretrain", "fusion"]


@pytest.mark.parametrize("options", [{"logs": [[]]}, {"logs": [log_of(1.0)], "recipe": ensemble_of("toys")}])
def test_methods_without_models_of_their_own_have_no_training_figure(
    registry: Registry, options: dict[str, Any]
) -> None:
    record = recorded(clips(("fan", "00", [1], [2])), **options)
    with pytest.raises(NothingToDraw, match="no model was trained in epochs"):
        drawn(registry, "training", run_of(record))


# Classifiers.


def test_cells_show_mean_counts_over_seeds_and_percent_of_the_row(registry: Registry) -> None:
    [axes] = drawn(registry, "confusion", classification()).axes
    assert texts(axes) == ["2\n100 %", "0\n0 %", "2.5\n83 %", "0.5\n17 %"]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(TARGETS)
    assert np.asarray(axes.images[0].get_array()).tolist() == [[1, 0], [2.5 / 3, 0.5 / 3]]


def test_a_classifier_whose_jobs_failed_has_an_empty_panel_beside_the_others(registry: Registry) -> None:
    run = classification()
    failed = recorded(run.methods[0].items.iloc[:0], label="idnn")
    methods = run.document.methods | {"idnn": failed.record.method}
    document = msgspec.structs.replace(run.document, methods=methods)
    both = RecordedRun(document=document, methods=[*run.methods, failed])
    for name in ("confusion", "groups"):
        shown = " ".join(texts(panels(drawn(registry, name, both))["idnn"])).replace("\n", " ")
        assert shown == "no items with a known class"


def test_bars_are_the_accuracy_on_each_subject_best_first_in_the_colour_of_its_database(
    registry: Registry,
) -> None:
    figure = drawn(registry, "groups", classification())
    [axes] = figure.axes
    bars = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert [bar.get_height() for bar in bars] == [100, 75, 0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["bob (1)", "ann (2)", "eve (2)"]
    assert [to_hex(bar.get_facecolor()).upper() for bar in bars] == [COLOURS[0], COLOURS[0], COLOURS[1]]
    assert np.asarray(axes.lines[0].get_ydata()) == pytest.approx(50)
    assert legend(figure) == ["samm", "smic", "all items"]


def test_items_resampled_one_by_one_have_no_groups_to_draw(registry: Registry) -> None:
    run = classification()
    data = msgspec.structs.replace(run.document.data, resample_by="")
    one_by_one = msgspec.structs.replace(run.document, data=data)
    with pytest.raises(NothingToDraw, match="items are resampled one by one, not by subject"):
        drawn(registry, "groups", RecordedRun(document=one_by_one, methods=run.methods))
