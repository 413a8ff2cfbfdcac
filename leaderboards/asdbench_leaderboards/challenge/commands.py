"""``asdbench evaluate`` and ``asdbench submission``."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asdbench import (
    FOLDER,
    SELECTOR,
    Selector,
    data_root,
    json_option,
    load_registry,
    out_option,
    print_json,
    run_option,
)

if TYPE_CHECKING:
    from asdbench_leaderboards.challenge.grading import Grade


@click.command(
    epilog="Example: asdbench evaluate --scores my-scores -d dcase2021 --part eval --data-root data --json"
)
@click.option(
    "--scores",
    type=FOLDER,
    required=True,
    help="Folder of anomaly_score_*.csv files, as submitted to a challenge, or of one scores.csv with a header.",
)
@click.option(
    "-d",
    "--dataset",
    type=SELECTOR,
    required=True,
    help="Dataset of the scored clips, for example dcase2021.",
)
@click.option(
    "--part",
    type=click.Choice(["dev", "eval"]),
    default=None,
    help="Part of its test clips [default: the dataset's option test].",
)
@click.option(
    "--data-root",
    type=FOLDER,
    default=data_root,
    envvar="ASDBENCH_DATA_ROOT",
    help="Folder of datasets and their ground truth; sounds are not needed.",
)
@click.option(
    "--metrics",
    default="",
    help="Metrics to compute, for example auc,pauc,mauc or auc,recall_eer [default: the official set].",
)
@click.option(
    "--mcclish/--no-mcclish",
    default=True,
    show_default=True,
    help="Standardise pAUC after McClish, so that chance is 0.5; else pauc_plain, the plain share of the area.",
)
@click.option(
    "--resamples",
    type=click.IntRange(0),
    default=1000,
    show_default=True,
    help="Bootstrap resamples for each interval; 0: no intervals.",
)
@click.option("--allow-partial", is_flag=True, help="Grade incomplete scores; the results are marked.")
@json_option
def evaluate(
    *,
    scores: Path,
    dataset: Selector,
    part: Any,
    data_root: Path,
    metrics: str,
    mcclish: bool,
    resamples: int,
    allow_partial: bool,
    as_json: bool,
) -> None:
    """Grade a folder of anomaly scores from any system by the official rules of a challenge.

    The folder contains the official files (lines of clip name and score, no header) or a table scores.csv with the
    columns machine, section, clip, score. Labels come from the dataset, found by the names of the clips.
    """
    from asdbench_leaderboards.challenge.grading import GradeRequest, grade_apart  # imports torch

    request = GradeRequest(
        scores=scores,
        dataset=dataset,
        part=part,
        data_root=data_root,
        metrics=[name.strip() for name in metrics.split(",") if name.strip()],  # type: ignore[misc]
        mcclish=mcclish,
        resamples=resamples,
        allow_partial=allow_partial,
    )
    with contextlib.redirect_stdout(sys.stderr):  # what a plugin prints is for people
        found = grade_apart(request, load_registry())
    if as_json:
        print_json(found.document())
    else:
        click.echo(_shown(found))


@click.command(epilog="Example: asdbench submission -p stgram_afpa --seed 42 --to challenge-files")
@out_option("Folder of the results.")
@run_option
@click.option(
    "-p",
    "--plugin",
    "methods",
    type=SELECTOR,
    multiple=True,
    help="A method of the run; a name without options means all its variants; repeatable [default: all].",
)
@click.option("--seed", "seeds", type=int, multiple=True, help="Repeatable [default: all of the run].")
@click.option(
    "--to",
    type=FOLDER,
    required=True,
    help="Folder of the challenge files, with a folder for each method and seed.",
)
@click.option(
    "--threshold-from",
    type=FOLDER,
    default=None,
    help="Folder of scores of normal training clips that set the thresholds, in the formats that `asdbench evaluate` "
    "reads [default: the clips that the run held out; without any, no decision files].",
)
@click.option(
    "--quantile",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.9,
    show_default=True,
    help="A clip is an anomaly above this quantile of a gamma distribution fitted to normal scores.",
)
@click.option(
    "--allow-partial",
    is_flag=True,
    help="Write the files of a run of partial data, or with clips without a score; the files say so.",
)
@json_option
def submission(
    *,
    out: Path,
    run: str,
    methods: tuple[Selector, ...],
    seeds: tuple[int, ...],
    to: Path,
    threshold_from: Path | None,
    quantile: float,
    allow_partial: bool,
    as_json: bool,
) -> None:
    """Write the official challenge files of a run: anomaly_score_*.csv and decision_result_*.csv.

    File names follow the year of the run's dataset. Decision thresholds come from normal clips kept from training,
    never from test clips.
    """
    from asdbench_leaderboards.challenge.submission import (  # imports pandas
        SubmissionRequest,
        Submissions,
        write_submissions,
    )

    request = SubmissionRequest(
        out=out,
        to=to,
        run=run,
        methods=methods,
        seeds=seeds,
        threshold_from=threshold_from,
        quantile=quantile,
        allow_partial=allow_partial,
    )
    written = write_submissions(request)
    if as_json:
        print_json(Submissions(written=written))
        return
    for each in written:
        partial = "" if each.complete else ", PARTIAL"
        click.echo(f"{each.folder}: {len(each.files)} files, {each.clips:,} clips{partial}")
        for note in each.notes:
            click.echo(f"  note: {note}")


def _shown(found: Grade) -> str:
    from tabulate import tabulate

    from asdbench_leaderboards.challenge.grading import decision_table, official_table, totals

    headers, rows = official_table(found)
    heads, decisions = decision_table(found)
    options = ",".join(f"{key}={value}" for key, value in found.request.dataset.options.items())
    title = f"{found.request.scores} on {found.card.name}{f'[{options}]' if options else ''}, {found.clips:,} clips"
    table = tabulate(rows, headers=headers, disable_numparse=True)
    if decisions:
        table += f"\n\n{tabulate(decisions, headers=heads, disable_numparse=True)}"
    return "\n".join([title, table, "", *totals(found)])
