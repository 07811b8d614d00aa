"""``rbr grader``: how good the grader is; ``rbr grade``: one answer, proposition by proposition."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from orchestration.cli import common
from rbr.errors import RBRError

if TYPE_CHECKING:
    from pipeline.context import Context
    from rbr.data.rows import Labelled
    from rbr.grading.base import Grader

app = typer.Typer(no_args_is_help=True, help="The grader.")
ENGINES = ("head", "transformers", "vllm", "openai", "chat")
# Columns of ``rbr grader evaluate``: key of the accuracy table -> title.
COLUMNS = {
    "support": "positives",
    "accuracy": "accuracy",
    "majority": "majority",
    "balanced_accuracy": "balanced",
    "f1": "F1",
    "auc": "AUC",
    "calibration_error": "calibration error",
}
EngineOption = Annotated[
    str | None, typer.Option(help=f"{', '.join(ENGINES)}; the profile's by default.")
]


def open_grader(context: Context, engine: str | None) -> Grader:
    """The profile's grader, or another engine with uncalibrated prompts.

    Raises:
        RBRError: on an unknown engine, or an artifact that is missing.
    """
    from pipeline.loading import load_grader
    from rbr.grading.consistency import ConsistentGrader
    from rbr.grading.load import make_uncalibrated

    options, base = context.settings.grader, common.artifact(context, "base_model")
    rules = common.compiled_rules(context)
    if engine is None or engine == options.engine:
        common.artifact(context, "grader")
        return load_grader(context, rules)
    if engine not in ENGINES:
        raise RBRError(f"--engine '{engine}' is not one of {', '.join(ENGINES)}")
    if engine == "head":
        raise RBRError(
            f"the profile's grader is fitted for '{options.engine}': set grader.engine to head and"
            " materialize it"
        )
    # Fitted prompts belong to the profile's engine; another one gets the plain questions.
    plain = make_uncalibrated(options.model_copy(update={"engine": engine}), rules, base)
    return ConsistentGrader(plain, rules.relations)


def read_gold(path: Path) -> list[Labelled]:
    """Gold rows in this project's format or in OpenAI's published one, recognized by the first row.

    Raises:
        DataError: naming the first row that is in neither.
    """
    from rbr.data.importers import is_openai_gold, read_whole
    from rbr.data.rows import Labelled
    from rbr.files import read_rows

    if not is_openai_gold(path):
        return read_rows(path, Labelled)
    return [row for row in read_whole("openai-gold", path) if isinstance(row, Labelled)]


@app.command()
def evaluate(
    data: Annotated[
        list[Path],
        typer.Option(
            help="Gold rows: our JSONL, or OpenAI's published format; again for more files."
        ),
    ],
    engine: EngineOption = None,
    judge: Annotated[
        bool, typer.Option("--judge", help="The evaluation's judge in place of the grader.")
    ] = False,
    unseen: Annotated[
        bool, typer.Option("--unseen", help="Only rows that neither learnt from.")
    ] = False,
    limit: Annotated[int | None, typer.Option(help="At most this many rows.", min=1)] = None,
    as_json: common.JsonOption = False,
    root: common.RootOption = None,
) -> None:
    """Accuracy, balanced accuracy, F1, AUC and calibration error per proposition, with intervals."""
    from rbr.grading.accuracy import measure
    from rbr.grading.decided import DECIDED, decided_by_type

    context = common.open_context(root)
    gold = [row for path in data for row in read_gold(path)]
    gold = (_unseen(context, gold) if unseen else gold)[:limit]
    grader = _judge(context, engine) if judge else open_grader(context, engine)
    with common.progress_bar("grading", hidden=as_json) as progress:
        found = measure(
            grader,
            gold,
            common.compiled_rules(context),
            context.settings.evaluation.bootstrap,
            progress,
        )
    table = found.table
    decided = decided_by_type(grader, gold, found.probabilities, common.compiled_rules(context))
    if as_json:
        tables = {"propositions": table, "parts": found.parts, "decided": decided}
        common.print_json({"rows": len(gold), **tables})
        return
    common.print_table(
        ["proposition", *COLUMNS.values()],
        [[row["proposition"], *(_cell(row, key) for key in COLUMNS)] for row in table],
        f"{'judge' if judge else 'grader'}: {len(gold)} rows of {', '.join(map(str, data))}",
        ["bold" if row["proposition"] == "mean" else "" for row in table],
    )
    keys = ("accuracy", "majority", "balanced_accuracy", "auc")
    common.print_table(
        ["rows with", "rows", *(COLUMNS[key] for key in keys)],
        [[row["part"], row["rows"], *(_cell(row, key) for key in keys)] for row in found.parts],
        "Means over propositions, by what the completion is like",
    )
    counts = ("rows", "true", "found", "alleged")
    common.print_table(
        ["decision", "response type", *counts],
        [
            [DECIDED[row["role"]], row["response_type"], *(row[c] for c in counts)]
            for row in decided
        ],
        "What metrics count: labelled true, found of those, alleged of others",
    )


def _unseen(context: Context, gold: list[Labelled]) -> list[Labelled]:
    """The rows that are among the held-out ones.

    Raises:
        RBRError: if none is.
    """
    from rbr.data.rows import Labelled
    from rbr.files import read_rows

    path = common.artifact(context, "gold_propositions") / "heldout.jsonl"
    kept = {row.id for row in read_rows(path, Labelled)}
    found = [row for row in gold if row.id in kept]
    if not found:
        raise RBRError("--unseen: no row of --data is held out", path)
    return found


def _judge(context: Context, engine: str | None) -> Grader:
    from pipeline.loading import load_judge_grader

    if engine is not None:
        raise RBRError("--judge has the engine of the profile's judge: leave --engine out")
    common.artifact(context, "judge"), common.artifact(context, "judge_model")
    return load_judge_grader(context)


def _cell(row: dict[str, Any], key: str) -> str:
    if row[key] is None:
        return "-"
    if key == "support":
        return f"{row[key]:.0f}"
    interval = f" [dim]\\[{row['low']:.2f}, {row['high']:.2f}][/]" if key == "accuracy" else ""
    return f"{row[key]:.3f}{interval}"


def grade(
    prompt: common.PromptOption,
    completion: common.CompletionOption,
    response_type: Annotated[
        str | None, typer.Option(help="Print the class probabilities for this response type too.")
    ] = None,
    engine: EngineOption = None,
    as_json: common.JsonOption = False,
    root: common.RootOption = None,
) -> None:
    """Grade one answer: the probability of each proposition, and of each completion class."""
    from rbr.data.rows import Message
    from rbr.grading.base import graded_with_reasons
    from rbr.reward.classes import class_probabilities

    common.check_answer(prompt, completion)
    context = common.open_context(root)
    rules = common.compiled_rules(context)
    common.check_response_type(rules, response_type)
    grader = open_grader(context, engine)
    names, conversation = rules.proposition_names, (Message(role="user", content=prompt),)
    graded = graded_with_reasons(grader, [conversation], [completion], propositions=names)
    grades, reasons = graded.probabilities, graded.reasons_of(0, names)
    propositions = dict(zip(names, grades[0].tolist(), strict=True))
    classes: dict[str, float] = {}
    if response_type:
        probabilities = class_probabilities(grades, rules, response_type)[0].tolist()
        classes = dict(zip(rules.class_names(response_type), probabilities, strict=True))
    if as_json:
        common.print_json({"propositions": propositions, "classes": classes, "reasons": reasons})
        return
    thresholds = dict(zip(grader.propositions, grader.thresholds, strict=True))
    _show_probabilities("proposition", propositions, thresholds)
    if reasons:
        common.print_table(["proposition", "reason"], [[n, escape(r)] for n, r in reasons.items()])
    if classes:
        _show_probabilities(f"class as {response_type}", classes, {})


def _show_probabilities(
    title: str, probabilities: dict[str, float], thresholds: dict[str, float]
) -> None:
    rows = sorted(probabilities.items(), key=lambda item: -item[1])
    common.print_table(
        [title, "probability", ""],
        [[name, f"{p:.3f}", "█" * round(20 * p)] for name, p in rows],
        styles=["bold" if p >= thresholds.get(name, 0.5) else "dim" for name, p in rows],
    )
