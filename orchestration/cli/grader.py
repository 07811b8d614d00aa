"""``rbr grader``: how good the grader is, and ``rbr grade``: one answer, proposition by proposition."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress
from rich.table import Table

from orchestration.cli.common import (
    JsonOption,
    RootOption,
    artifact,
    check_response_type,
    console,
    open_context,
    print_json,
)
from rbr.data.rows import Labelled, Message
from rbr.errors import RBRError
from rbr.grading.base import Grader
from rbr.steps import Context

app = typer.Typer(no_args_is_help=True, help="The grader.")
ENGINES = ("head", "transformers", "vllm", "openai")
EngineOption = Annotated[
    str | None, typer.Option(help=f"{', '.join(ENGINES)}; the profile's by default.")
]


def open_grader(context: Context, engine: str | None) -> Grader:
    """The profile's grader, or another engine with uncalibrated prompts.

    Raises:
        RBRError: on an engine that is none, or an artifact that is missing.
    """
    from rbr.grading.load import make_engine, make_grader
    from rbr.grading.yesno import YesNoGrader

    settings = context.settings.grader
    base = artifact(context, "base_model")
    if engine is None or engine == settings.engine:
        return make_grader(settings, context.rules, artifact(context, "grader"), base)
    if engine not in ENGINES:
        raise RBRError(f"--engine '{engine}' is not one of {', '.join(ENGINES)}")
    if engine == "head":
        raise RBRError(
            f"the profile's grader is fitted for '{settings.engine}': set grader.engine to head and"
            " materialize it"
        )
    # Fitted prompts belong to the profile's engine; another one is asked in the plain way.
    return YesNoGrader(
        make_engine(settings.model_copy(update={"engine": engine}), base), context.rules
    )


def read_gold(path: Path) -> list[Labelled]:
    """Gold rows in our format or in OpenAI's published one, told apart by their first row.

    Raises:
        DataError: naming the first row that is in neither.
    """
    from rbr.files import read_rows
    from rbr.data.importers import is_openai_gold, read_whole

    if not is_openai_gold(path):
        return read_rows(path, Labelled)
    return [row for row in read_whole("openai-gold", path) if isinstance(row, Labelled)]


@app.command()
def evaluate(
    data: Annotated[Path, typer.Option(help="Gold rows: our JSONL, or OpenAI's published format.")],
    engine: EngineOption = None,
    limit: Annotated[int | None, typer.Option(help="At most this many rows.", min=1)] = None,
    as_json: JsonOption = False,
    root: RootOption = None,
) -> None:
    """Accuracy, balanced accuracy, F1, AUC and calibration error per proposition, with intervals."""
    from rbr.grading.accuracy import measure

    context = open_context(root)
    rows = read_gold(data)[:limit]
    grader = open_grader(context, engine)
    with Progress(console=console, transient=True, disable=as_json) as progress:
        task = progress.add_task("grading", total=len(rows))
        table = measure(
            grader,
            rows,
            context.settings.evaluation.bootstrap,
            lambda done, total: progress.update(task, completed=done),
        ).table
    if as_json:
        print_json({"rows": len(rows), "propositions": table})
        return
    _show(table, f"{len(rows)} rows of {data}")


def _show(table: list[dict[str, Any]], title: str) -> None:
    columns = {
        "support": "positives",
        "accuracy": "accuracy",
        "majority": "majority",
        "balanced_accuracy": "balanced",
        "f1": "F1",
        "auc": "AUC",
        "calibration_error": "calibration error",
    }
    shown = Table("proposition", title=title)
    for name in columns.values():
        shown.add_column(name, justify="right")
    for row in table:
        cells = []
        for key in columns:
            value = row[key]
            if value is None:
                cells.append("-")
            elif key == "support":
                cells.append(f"{value:.0f}")
            elif key == "accuracy":
                cells.append(f"{value:.3f} [dim]\\[{row['low']:.2f}, {row['high']:.2f}][/]")
            else:
                cells.append(f"{value:.3f}")
        style = "bold" if row["proposition"] == "mean" else None
        shown.add_row(row["proposition"], *cells, style=style)
    console.print(shown)


def grade(
    prompt: Annotated[str, typer.Option(help="What the user says.")],
    completion: Annotated[str, typer.Option(help="What the model answers.")],
    response_type: Annotated[
        str | None, typer.Option(help="Give the class probabilities for this response type too.")
    ] = None,
    engine: EngineOption = None,
    as_json: JsonOption = False,
    root: RootOption = None,
) -> None:
    """Grade one answer: the probability of each proposition, and of each completion class."""
    from rbr.reward.classes import class_probabilities
    from rbr.grading.consistency import mask_disallowed_on_comply

    context = open_context(root)
    rules = context.rules
    if response_type is not None:
        check_response_type(rules, response_type)
    grader = open_grader(context, engine)
    graded = grader.grade(
        [(Message(role="user", content=prompt),)],
        [completion],
        propositions=rules.proposition_names,
    )
    by_name = dict(zip(rules.proposition_names, (float(p) for p in graded[0]), strict=True))
    classes: dict[str, float] = {}
    if response_type:
        own = mask_disallowed_on_comply(graded, rules.proposition_names, response_type)
        values = class_probabilities(own, rules, response_type)[0]
        classes = dict(zip(rules.class_names, (float(p) for p in values), strict=True))
    if as_json:
        print_json({"propositions": by_name, "classes": classes})
        return
    holds = dict(zip(grader.propositions, grader.thresholds, strict=True))
    for title, values_of in (("proposition", by_name), (f"class as {response_type}", classes)):
        if values_of:
            table = Table(title, "probability", "")
            for name, p in sorted(values_of.items(), key=lambda item: -item[1]):
                style = "bold" if p >= holds.get(name, 0.5) else "dim"
                table.add_row(name, f"{p:.3f}", "█" * round(20 * p), style=style)
            console.print(table)
