"""Figures of papers and comparisons: the numbers that they draw, what they refuse, and that they repeat."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from made_runs import classification, clips, detection, holdout, recipe_of, recorded, row_of, run_of
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle, StepPatch
from numpy.typing import NDArray

from asdbench import Cost, NothingToDraw, RecordedMethod, RecordedRun, load_registry
from asdbench.recipes.recipe import Part
from asdbench.results.plots import draw
from asdbench_leaderboards.figures.actions import action_of
from asdbench_leaderboards.figures.cost import Point, front_of, short_number
from asdbench_leaderboards.figures.critical_difference import cliques, p_value
from asdbench_leaderboards.figures.embeddings import embedded, spread
from asdbench_leaderboards.statistics.machines import friedman
from asdbench_plugins.contrastive_ensemble.figures import chosen_items as chosen_to_mix
from asdbench_plugins.stgram_afpa.figures import chosen_items

REGISTRY = load_registry()


class Answers:
    """Stands for trained models: gives prepared arrays, and remembers what it was asked."""

    def __init__(self, **arrays: Any) -> None:
        self.arrays = arrays
        self.asked: list[tuple[str, int, str]] = []

    def ask(
        self, asked: str, method: RecordedMethod, *, items: pd.DataFrame, unit: str
    ) -> Mapping[str, NDArray[Any]]:
        """Return the prepared arrays; a function makes one from the items."""
        self.asked.append((asked, len(items), unit))
        return {name: value(items) if callable(value) else value for name, value in self.arrays.items()}


def asking(run: RecordedRun, **arrays: Any) -> tuple[RecordedRun, Answers]:
    answers = Answers(**arrays)
    return RecordedRun(document=run.document, methods=run.methods, insights=answers), answers


def drawn(name: str, run: RecordedRun) -> Figure:
    """The figure, laid out; a part that does not fit raises a warning, which fails the test."""
    figure: Figure | None = REGISTRY.build("figure", name)(run)
    assert figure is not None
    figure.canvas.draw()
    return figure


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for one in figure.legends for text in one.get_texts()]


def placed(items: pd.DataFrame) -> pd.DataFrame:
    """The items with official names."""
    return items.assign(source=[f"{k:02}.wav" for k in range(len(items))], start=0, length=pd.NA)


# Scores by domain.


def test_scores_of_the_source_domain_point_up_and_those_of_the_target_domain_down() -> None:
    items = clips(("fan", "00", [1, 2, 3, 4], [5, 6]))
    items["domain"] = ["source", "source", "source", "target", "source", "target"]
    [axes] = drawn("score_domains", detection(items)).axes
    steps = [patch for patch in axes.patches if isinstance(patch, StepPatch) and patch.get_fill()]
    bars = [np.asarray(patch.get_data()[0]) for patch in steps]
    # Normal and anomalous items of either domain: all of each, and no bar on the other side.
    assert [float(bar.sum()) for bar in bars] == pytest.approx([100, 100, -100, -100])
    assert [bool((bar >= 0).all()) for bar in bars] == [True, True, False, False]
    assert texts(axes) == ["source", "target"]


def test_validation_items_of_one_class_give_no_curve() -> None:
    run = holdout()
    normal = run.methods[0].validation.query("label == 'normal'")
    alone = recorded(run.methods[0].items, validation=normal)
    with pytest.raises(
        NothingToDraw, match="no method has scores of normal and of anomalous validation items"
    ):
        REGISTRY.build("figure", "precision_recall")(run_of(alone, groups=("recording",)))


def test_items_without_domains_have_no_scores_by_domain() -> None:
    with pytest.raises(NothingToDraw, match="the items of made have no column 'domain'"):
        REGISTRY.build("figure", "score_domains")(detection())
    for name in ("score_domains", "roc", "scores", "error_rates"):
        with pytest.raises(NothingToDraw, match="classifiers, whose items have no anomaly score"):
            REGISTRY.build("figure", name)(classification())


# Cost against results.


def paid(label: str, *, ms: float, parameters: int) -> RecordedMethod:
    cost = Cost(
        fit_s=10 * ms, score_ms=ms, parameters=parameters, flops=1, peak_memory_bytes=1, peak_device_bytes=0
    )
    return recorded(clips(("fan", "00", [1], [2])), label=label, about={"cost": cost})


def three_methods() -> RecordedRun:
    methods = [
        paid("knn", ms=1, parameters=0),
        paid("idnn", ms=4, parameters=1000),
        paid("lof", ms=9, parameters=2000),
    ]
    values = {"knn": [0.6, 0.7, 0.5], "idnn": [0.9, 0.8, 0.7], "lof": [0.8, 0.75, 0.6]}
    rows = [
        row_of("auc", value, groups={"machine": machine}, method=label)
        for label, of_machines in values.items()
        for machine, value in zip(("fan", "pump", "valve"), of_machines, strict=True)
    ]
    wholes = [row_of("auc", float(np.mean(found)), method=label) for label, found in values.items()]
    return run_of(*methods, results=[*rows, *wholes])


def test_costs_are_drawn_against_results_and_the_line_joins_what_nothing_beats() -> None:
    figure = drawn("cost", three_methods())
    scoring, training, parameters = figure.axes
    assert [axes.get_xlabel() for axes in figure.axes] == [
        "scoring, ms per item",
        "training, s per seed",
        "trainable parameters",
    ]
    assert scoring.get_ylabel() == "AUC, %"
    fronts = [np.asarray(axes.lines[-1].get_xydata()) for axes in (scoring, training, parameters)]
    assert fronts[0] == pytest.approx(np.array([[1, 60], [4, 80]]))  # lof is dearer and worse than idnn
    assert fronts[1] == pytest.approx(np.array([[10, 60], [40, 80]]))
    assert fronts[2] == pytest.approx(np.array([[0, 60], [1000, 80]]))
    assert (scoring.get_xscale(), parameters.get_xscale()) == ("log", "symlog")
    assert legend(figure) == ["knn", "idnn", "lof"]


def test_methods_without_parameters_stand_at_zero() -> None:
    alone = paid("knn", ms=1, parameters=0)
    run = run_of(alone, results=[row_of("auc", 0.6)])
    axes = drawn("cost", run).axes[2]
    assert (list(axes.get_xticks()), axes.get_xscale()) == ([0.0], "linear")


def test_of_equal_results_the_cheapest_is_in_front() -> None:
    row = row_of("auc")
    points = [
        Point(number=k, cost=cost, row=row, value=value)
        for k, (cost, value) in enumerate([(2, 5), (1, 5), (3, 7), (2, 6)])
    ]
    assert [point.number for point in front_of(points)] == [1, 3, 2]
    assert [short_number(value) for value in (0, 0.5, 20, 1500, 2e6, 3e9)] == [
        "0",
        "0.5",
        "20",
        "1.5k",
        "2M",
        "3G",
    ]


def test_without_a_cost_nothing_is_drawn_against_it() -> None:
    with pytest.raises(NothingToDraw, match="no method of run made has both a cost and a result"):
        REGISTRY.build("figure", "cost")(detection())


# Critical difference.


def test_mean_ranks_stand_in_order_with_nemenyis_critical_difference() -> None:
    [axes] = drawn("critical_difference", three_methods()).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["idnn, 1.00", "lof, 2.00", "knn, 3.00"]
    # q = 2.343 / sqrt(3 * 4 / (6 * 3)): Demsar's table 5(a) has 2.343 for three methods.
    assert texts(axes) == ["critical difference 1.91"]
    bars = [np.asarray(line.get_xdata()) for line in axes.lines if line.get_linewidth() == 3.5]
    assert [bar.tolist() for bar in bars] == [[0.97, 2.03], [1.97, 3.03]]
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [float(np.asarray(dot.get_xdata())[0]) for dot in dots] == [1, 2, 3]


def test_where_all_groups_agree_the_p_value_is_the_chance_of_that() -> None:
    title = REGISTRY.build("figure", "critical_difference")(three_methods()).get_suptitle()
    assert f"p = {1 / 36:.2g}: the methods differ" in title.replace("\n", " ")  # three orders of 3! each
    assert (
        p_value(friedman([[1, 2, 3], [2, 1, 3], [1, 2, 3]])) == friedman([[1, 2, 3], [2, 1, 3], [1, 2, 3]]).p
    )


def test_bars_join_the_largest_sets_of_methods_within_the_difference() -> None:
    assert cliques(np.array([1.0, 2.0, 2.5, 4.0, 4.9]), 1.6) == [(1.0, 2.5), (2.5, 4.0), (4.0, 4.9)]
    assert cliques(np.array([1.0, 3.0]), 1.6) == []


def test_ranks_need_two_methods_on_two_groups() -> None:
    rows = [row_of("auc", groups={"machine": machine}) for machine in ("fan", "pump")]
    for results, found in ((rows, "1 method and 2 groups"), ([], "0 methods and 0 groups")):
        run = run_of(recorded(clips(("fan", "00", [1], [2]))), results=results)
        with pytest.raises(
            NothingToDraw, match=f"two methods with values on the same two groups, found {found}"
        ):
            REGISTRY.build("figure", "critical_difference")(run)


# Embeddings.


def embedded_run(**arrays: Any) -> tuple[RecordedRun, Answers]:
    items = placed(clips(("fan", "00", range(6), range(3)), ("fan", "02", range(5), range(4))))
    return asking(detection(items), **arrays)


def vectors_of(items: pd.DataFrame) -> NDArray[np.float32]:
    """Two segments [n, 2, 8] around a place that depends on section and label."""
    noise = np.random.default_rng(0).normal(size=(len(items), 2, 8))
    shift = 20.0 * (items["section"] == "02") + 5.0 * items["label"].isin(["anomaly"])
    return (noise + shift.to_numpy()[:, None, None]).astype(np.float32)


def test_embeddings_are_in_the_colour_of_their_section_normal_ones_as_dots_and_others_as_crosses() -> None:
    run, answers = embedded_run(embedding=vectors_of)
    figure = drawn("embeddings", run)
    assert answers.asked == [("outputs", 18, "")]
    [axes] = figure.axes
    others, normal, anomalous, _ = axes.collections
    places = [np.asarray(dots.get_offsets()) for dots in (others, normal, anomalous)]
    assert [len(found) for found in places] == [0, 11, 7]
    expected = embedded(vectors_of(run.methods[0].items).astype(np.float64).mean(axis=1))
    labels = run.methods[0].items["label"].to_numpy()
    assert places[1] == pytest.approx(expected[labels == "normal"])
    assert len(np.unique(normal.get_facecolors(), axis=0)) == 2
    assert legend(figure) == ["section 00", "section 02", "normal", "anomalous"]


def test_the_model_of_one_machine_type_also_gets_items_of_the_others() -> None:
    items = placed(clips(("fan", "00", range(5), range(2)), ("pump", "00", range(4), range(3))))
    run = detection(items)
    [method] = run.methods
    [model] = method.record.models.values()
    models = {unit: msgspec.structs.replace(model, unit=unit) for unit in ("fan", "pump")}
    folds = {fold: msgspec.structs.replace(model, fold=fold) for fold in ("loso:00", "loso:02")}
    record = msgspec.structs.replace(method.record, models=models)
    machine = RecordedMethod(label=method.label, record=record, items=items)
    both, answers = asking(RecordedRun(document=run.document, methods=[machine]), embedding=vectors_of)
    figure = drawn("embeddings", both)
    assert answers.asked == [("outputs", 14, "fan"), ("outputs", 14, "pump")]
    assert [len(np.asarray(axes.collections[0].get_offsets())) for axes in figure.axes] == [7, 7]
    assert legend(figure)[-1] == "items of other groups"
    assert "several models" not in figure.get_suptitle()
    left_out = dataclasses.replace(machine, record=msgspec.structs.replace(record, models=folds))
    both, _ = asking(RecordedRun(document=run.document, methods=[left_out]), embedding=vectors_of)
    title = REGISTRY.build("figure", "embeddings")(both).get_suptitle().replace("\n", " ")
    assert title.endswith(
        "items of one panel have vectors of several models (folds or sections), which cannot be compared"
    )


def test_t_sne_repeats_bit_by_bit_and_items_are_spread_evenly() -> None:
    vectors = np.random.default_rng(1).normal(size=(12, 5))
    assert np.array_equal(embedded(vectors), embedded(vectors))
    assert spread(pd.DataFrame({"k": range(11)}), 3)["k"].tolist() == [0, 5, 10]
    assert len(spread(pd.DataFrame({"k": range(2)}), 3)) == 2


def test_items_of_secret_labels_are_triangles() -> None:
    items = placed(clips(("fan", "00", range(6), [])))
    items["label"] = pd.array(["normal", None, None, "anomaly", None, "normal"], dtype="string")
    run, _ = asking(detection(items), embedding=vectors_of)
    figure = drawn("embeddings", run)
    [axes] = figure.axes
    assert [len(np.asarray(dots.get_offsets())) for dots in axes.collections] == [0, 2, 1, 3]
    assert legend(figure)[1:] == ["normal", "anomalous", "unknown label"]


def test_models_without_vectors_and_classifiers_have_no_embeddings() -> None:
    run, _ = embedded_run(claim_nll=lambda items: np.zeros((len(items), 1), dtype=np.float32))
    with pytest.raises(NothingToDraw, match="no model of the run has an output with vectors"):
        REGISTRY.build("figure", "embeddings")(run)
    few, _ = asking(detection(placed(clips(("fan", "00", [1, 2], [3])))), embedding=vectors_of)
    with pytest.raises(NothingToDraw, match="t-SNE needs 5 items, but the largest group has 3"):
        REGISTRY.build("figure", "embeddings")(few)
    with pytest.raises(NothingToDraw, match="items of classifiers are neither normal nor anomalous"):
        REGISTRY.build("figure", "embeddings")(classification())


# Recall by action.


def robot_run(**options: Any) -> RecordedRun:
    items = placed(
        pd.DataFrame(
            {
                "recording": "slow",
                "label": ["anomaly"] * 4,
                "score_0": [1.0, 5, 6, 2],
                "score_1": [1.0, 5, 1, 9],
            }
        )
    )
    rows = [row_of("f1", 0.8, thresholds=[4.0, 4.0])]
    run = run_of(recorded(items, label="knn"), results=rows, groups=("recording",))
    info = msgspec.structs.replace(run.document.run, **({"dataset": "synthetic_robot"} | options))
    return RecordedRun(document=msgspec.structs.replace(run.document, run=info), methods=run.methods)


def windows(items: pd.DataFrame) -> NDArray[np.float32]:
    """Windows of three rows; the first column is the action."""
    found = np.zeros((len(items), 3, 2), dtype=np.float32)
    found[:, :, 0] = [[7, 7, 8], [7, 8, 8], [8, 8, 8], [7, 7, 7]]
    return found


def test_recall_is_drawn_for_the_action_of_most_rows_of_a_window() -> None:
    run, answers = asking(robot_run(), samples=windows)
    [axes] = drawn("recall_by_action", run).axes
    assert answers.asked == [("samples", 4, "")]
    bars = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    # Action 7: windows 0 (found by no seed) and 3 (by one of two); action 8: windows 1 (both) and 2 (one).
    assert [bar.get_height() for bar in bars] == pytest.approx([25, 75])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["7\n(2)", "8\n(2)"]
    assert set(np.asarray(axes.lines[0].get_ydata())) == {50.0}
    assert action_of(np.array([[[3.0], [2.0]]])).tolist() == [2]  # the lower of two that tie


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"dataset": "made"}, "made has no actions; kuka and synthetic_robot have"),
        (
            {"dataset_options_resolved": {"scaling": "joint"}},
            "with scaling=joint the numbers of actions are scaled",
        ),
    ],
)
def test_data_without_actions_have_no_recall_by_action(options: dict[str, Any], why: str) -> None:
    with pytest.raises(NothingToDraw, match=why):
        REGISTRY.build("figure", "recall_by_action")(robot_run(**options))


# Figures of single methods.


def with_model(name: str, **options: Any) -> RecordedRun:
    recipe = recipe_of("mine")
    model = Part(name=name, path="x:Y", options=options, source="")
    items = placed(
        clips(("fan", "00", [1, 2], [3, 4]), ("fan", "02", [1, 2], [3, 4]), ("pump", "00", [1, 2], [3]))
    )
    return run_of(
        recorded(items, label="mine", recipe=msgspec.structs.replace(recipe, model=model)),
        claims=["machine", "section"],
    )


def test_the_frequency_pattern_shows_features_mean_attention_and_output_of_each_chosen_clip() -> None:
    random = np.random.default_rng(0)
    arrays = {
        "features": random.random((4, 5, 6)),
        "attention": random.random((4, 2, 5, 5)),
        "attended": random.random((4, 5, 6)),
    }
    run, answers = asking(with_model("stgram", afpa=True), **arrays)
    figure = REGISTRY.build("figure", "frequency_pattern")(run)
    assert answers.asked == [("explain", 4, "")]
    panels = [axes for axes in figure.axes if axes.images and axes.get_label() != "<colorbar>"]
    shown = [np.asarray(axes.images[0].get_array()) for axes in panels]
    for clip in range(4):
        of_clip = shown[3 * clip : 3 * clip + 3]
        for found, expected in zip(
            of_clip,
            (arrays["features"][clip], arrays["attention"][clip].mean(axis=0), arrays["attended"][clip]),
            strict=True,
        ):
            assert found == pytest.approx(expected)
    names = [
        f"fan {section}\n{label}\nmel band" for section in ("00", "02") for label in ("normal", "anomalous")
    ]
    assert [axes.get_ylabel() for axes in panels[::3]] == names
    assert [axes.get_title() for axes in panels[:3]] == ["log-mel", "mean attention", "attended"]


def test_chosen_clips_are_the_first_of_each_label_by_name() -> None:
    [method] = with_model("stgram").methods
    backwards = method.items.iloc[::-1]
    assert chosen_items(backwards, ["machine", "section"])["source"].tolist() == [
        "00.wav",
        "02.wav",
        "04.wav",
        "06.wav",
    ]
    assert chosen_to_mix(backwards)["source"].tolist() == ["00.wav", "08.wav"]
    assert chosen_items(backwards.head(0), ["machine"]).empty


def test_mixing_examples_show_each_step_and_say_which_are_not_used() -> None:
    picture = np.arange(12.0).reshape(1, 3, 4).repeat(2, axis=0)
    curves = np.array([[1.0, 2.0, 4.0]] * 2)
    arrays = {
        "spectrum": picture,
        "other": -picture,
        "stacked": 2 * picture,
        "means": curves,
        "weights": curves,
        "gwap": curves**2,
    }
    run, _ = asking(with_model("contrastive_ensemble"), **arrays)
    figure = REGISTRY.build("figure", "mixing_examples")(run)
    found = {axes.get_title(): axes for axes in figure.axes if axes.get_title()}
    assert np.asarray(found["SP: stacked (Fig. 3)"].images[0].get_array()) == pytest.approx(2 * picture[0])
    assert texts(found["SF: flipped (Fig. 3)"]) == ["not used by this method"]
    mean, gwap = found["GWAP (Fig. 6)"].lines
    assert np.asarray(mean.get_xdata()) == pytest.approx([0.25, 0.5, 1])
    assert np.asarray(gwap.get_xdata()) == pytest.approx([1 / 16, 0.25, 1])


@pytest.mark.parametrize(
    ("name", "model", "why"),
    [
        ("frequency_pattern", "stgram", "no method of run made has attention over frequency"),
        ("frequency_pattern", "toy", "no method of run made has attention over frequency"),
        ("mixing_examples", "toy", "no method of run made mixes clips by checkerboard"),
    ],
)
def test_runs_of_other_methods_lack_the_figures_of_a_paper(name: str, model: str, why: str) -> None:
    with pytest.raises(NothingToDraw, match=why):
        REGISTRY.build("figure", name)(with_model(model, afpa=False))


# All of them.


def test_equal_input_gives_equal_bytes_in_every_format(tmp_path: Path) -> None:
    run, _ = embedded_run(embedding=vectors_of)
    for suffix in ("png", "svg", "pdf"):
        files = [
            draw(REGISTRY, run, to=tmp_path / name, names=["embeddings"], suffix=suffix)[0].file
            for name in ("a", "b")
        ]
        first, second = (file.read_bytes() for file in files if file is not None)
        assert first == second, suffix


def test_figures_that_ask_models_are_left_out_with_the_reason_if_nobody_can_ask(tmp_path: Path) -> None:
    items = placed(clips(("fan", "00", range(5), range(3))))
    [found] = draw(REGISTRY, detection(items), to=tmp_path, names=["embeddings"])
    assert (found.file, found.why) == (
        None, "it asks the trained models, which takes the data and some time; name it with --only",
    )  # fmt: skip
