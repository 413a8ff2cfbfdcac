"""``asdbench evaluate`` and ``asdbench submission``."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asdbench.cli.settings import FOLDER, WORDS, data_root, json_option, out_option, run_option
from asdbench.registry import load_registry

if TYPE_CHECKING:
    from asdbench_leaderboards.challenge.grading import Grade


@click.command(
    epilog="Example: asdbench evaluate --scores my-scores -d dcase2021 --part eval --data-root data --json"
)
@click.option(
    "--scores",
    type=FOLDER,
    required=True,
    help="Folder of anomaly_score_*.csv as handed in to a challenge, or of one scores.csv with a header.",
)
@click.option(
    "-d", "--dataset", type=WORDS, required=True, help="Whose clips were scored, such as dcase2021."
)
@click.option(
    "--part",
    type=click.Choice(["dev", "eval"]),
    default=None,
    help="Which of its test clips [default: what the dataset's option test says].",
)
@click.option(
    "--data-root",
    type=FOLDER,
    default=data_root,
    envvar="ASDBENCH_DATA_ROOT",
    help="Where data sets and their ground truth lie; sounds are not needed.",
)
@click.option(
    "--metrics",
    default="",
    help="Which figures, such as auc,pauc,pauc_domain [default: those of the official set].",
)
@click.option(
    "--resamples",
    type=click.IntRange(0),
    default=1000,
    show_default=True,
    help="Bootstrap resamples behind each interval; 0: none.",
)
@click.option("--allow-partial", is_flag=True, help="Score what is there although clips are missing; marked.")
@json_option
def evaluate(
    scores: Path,
    dataset: tuple[str, dict[str, str]],
    part: Any,
    data_root: Path,
    metrics: str,
    resamples: int,
    allow_partial: bool,
    as_json: bool,
) -> None:
    """Grade a folder of anomaly scores, whoever made it, by the official rules of a challenge.

    The folder holds the official files (lines of clip name and score, no header) or a table scores.csv with the
    columns machine, section, clip, score. Labels come from the dataset by the names of the clips.
    """
    from asdbench_leaderboards.challenge.grading import GradeRequest, grade  # imports torch

    request = GradeRequest(
        scores=scores,
        dataset=dataset[0],
        options=dataset[1],
        part=part,
        data_root=data_root,
        metrics=[name.strip() for name in metrics.split(",") if name.strip()],  # type: ignore[misc]
        resamples=resamples,
        allow_partial=allow_partial,
    )
    with contextlib.redirect_stdout(sys.stderr):  # what a plugin prints is for people
        found = grade(request, load_registry())
    click.echo(json.dumps(found.document(), indent=2, allow_nan=False) if as_json else _shown(found))


@click.command(epilog="Example: asdbench submission -p stgram_afpa --seed 42 --to challenge-files")
@out_option("Where the run keeps its results.")
@run_option
@click.option(
    "-p",
    "--plugin",
    "methods",
    type=WORDS,
    multiple=True,
    help="A method of the run, a name alone being every variant of it; repeatable [default: all].",
)
@click.option("--seed", "seeds", type=int, multiple=True, help="Repeatable [default: all of the run].")
@click.option(
    "--to", type=FOLDER, required=True, help="Where the files go, a folder for each method and seed."
)
@click.option(
    "--threshold-from",
    type=FOLDER,
    default=None,
    help="Folder of scores of normal training clips to decide by, in the forms that `asdbench evaluate` reads "
    "[default: the clips that the run held out; without any, no decision files].",
)
@click.option(
    "--quantile",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.9,
    show_default=True,
    help="A clip is an anomaly above this quantile of a gamma distribution of normal scores.",
)
@click.option("--allow-partial", is_flag=True, help="Write what is there although clips have no score.")
@json_option
def submission(
    out: Path,
    run: str,
    methods: tuple[tuple[str, dict[str, str]], ...],
    seeds: tuple[int, ...],
    to: Path,
    threshold_from: Path | None,
    quantile: float,
    allow_partial: bool,
    as_json: bool,
) -> None:
    """Write the official challenge files of a run: anomaly_score_*.csv and decision_result_*.csv.

    File names are those of the year of the run's dataset. Decision thresholds come from normal clips kept from
    training, never from test clips.
    """
    from asdbench_leaderboards.challenge.submission import (  # imports pandas
        SubmissionRequest,
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
        click.echo(json.dumps({"written": [one.document() for one in written]}, indent=2, allow_nan=False))
        return
    for one in written:
        click.echo(f"{one.folder}: {len(one.files)} files, {one.clips:,} clips")
        for note in one.notes:
            click.echo(f"  note: {note}")


def _shown(found: Grade) -> str:
    from tabulate import tabulate

    from asdbench_leaderboards.challenge.grading import official_table, totals

    headers, rows = official_table(found)
    options = ",".join(f"{key}={value}" for key, value in found.request.options.items())
    title = f"{found.request.scores} on {found.card.name}{f'[{options}]' if options else ''}, {found.clips:,} clips"
    table = tabulate(rows, headers=headers, disable_numparse=True)
    return "\n".join([title, table, "", *totals(found)])
