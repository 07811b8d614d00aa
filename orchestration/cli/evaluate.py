"""``rbr evaluate``: a model's safety and over-refusal, by the judge; alone, or beside another model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress
from rich.table import Table

from orchestration.cli.common import JsonOption, RootOption, artifact, console, open_context, print_json
from rbr.errors import DataError, RBRError

if TYPE_CHECKING:
    from rbr.data.rows import PolicyPrompt
    from rbr.evaluation.judge import Judge
    from rbr.steps import Context


def read_prompts(path: Path) -> list[PolicyPrompt]:
    """Prompts of ours (JSONL), of XSTest (CSV) or of OpenAI's gold rows (each prompt once).

    Raises:
        DataError: naming the first row that cannot be read.
    """
    from rbr.data.rows import PolicyPrompt
    from rbr.files import read_rows
    from rbr.data.importers import is_openai_gold, read_whole

    if path.suffix == ".csv":
        kind = "xstest"
    elif is_openai_gold(path):
        kind = "openai-prompts"
    else:
        return read_rows(path, PolicyPrompt)
    rows = read_whole(kind, path)
    once = {row.conversation: row for row in rows if isinstance(row, PolicyPrompt)}
    if not once:
        raise DataError("no prompts in it", path)
    return list(once.values())


def open_judge(context: Context, name: str | None, address: str | None) -> tuple[Judge, Any]:
    """The fitted judge, or a model on an OpenAI-compatible server; and its accuracy on held-out gold."""
    from rbr.evaluation.judge import Judge
    from rbr.files import read_json
    from pipeline.inputs import load_judge

    if name is None:
        folder = artifact(context, "judge")
        artifact(context, "judge_model")
        return load_judge(context), read_json(folder / "metrics.json")
    from rbr.grading import GradeStore, StoredGrader
    from rbr.grading.load import make_engine
    from rbr.grading.yesno import YesNoGrader

    if address is None:
        raise RBRError("--judge NAME needs --judge-address, the URL of its server (…/v1)")
    settings = context.settings.grader.model_copy(
        update={"engine": "openai", "model": name, "address": address}
    )
    grader = StoredGrader(
        YesNoGrader(make_engine(settings, name), context.rules),
        GradeStore(context.root / ".cache" / "grades.sqlite"),
        context.rules.grading_texts(),
    )
    return Judge(grader, context.rules), accuracy_of(grader, context)


def accuracy_of(grader: Any, context: Context, rows: int = 60) -> dict[str, float]:
    """Accuracy of a judge on the first held-out gold rows, as the ``judge`` step states it."""
    from rbr.data.rows import Labelled
    from rbr.files import read_rows
    from rbr.grading.accuracy import judge_accuracy, measure

    gold = read_rows(artifact(context, "gold_propositions") / "heldout.jsonl", Labelled)[:rows]
    return judge_accuracy(grader, gold, measure(grader, gold))


def evaluate(
    model: Annotated[
        str,
        typer.Option(
            help="Folder of a checkpoint, an artifact (ppo_checkpoint/rbr) or a hub name."
        ),
    ],
    prompts: Annotated[
        Path | None,
        typer.Option(help="Prompts: JSONL, XSTest's CSV or OpenAI's gold; held-out by default."),
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Another model, on the same prompts: paired comparison.")
    ] = None,
    judge: Annotated[
        str | None, typer.Option(help="A model's name on --judge-address; the fitted by default.")
    ] = None,
    judge_address: Annotated[
        str | None, typer.Option(help="URL of an OpenAI-compatible server (…/v1).")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where answers and judgements are kept (and gone on from).")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="At most this many prompts.", min=1)] = None,
    as_json: JsonOption = False,
    root: RootOption = None,
) -> None:
    """Not-Unsafe, Not-Overrefuse, F1* and share of ideal refusals, with 95 % intervals."""
    from rbr.evaluation.paired import compare
    from rbr.evaluation.safety import as_verdict

    context = open_context(root)
    path = prompts or artifact(context, "safety_prompts") / "eval.jsonl"
    rows = read_prompts(path)[:limit]
    judging, accuracy = open_judge(context, judge, judge_address)
    names = [model] if against is None else [model, against]
    results, answers = {}, []
    for name in names:
        result, judged = _one(context, name, rows, judging, out, quiet=as_json)
        results[name] = result
        answers.append([as_verdict(row) for row in judged])
    report: dict[str, Any] = {
        "prompts": str(path),
        "judge": {"name": judge or "fitted", **accuracy},
        "models": results,
    }
    if against is not None:
        differences = compare(answers[0], answers[1], context.settings.evaluation.bootstrap)
        report["difference"] = {
            name: {**asdict(own), "verdict": own.verdict} for name, own in differences.items()
        }
    if as_json:
        print_json(report)
    else:
        _show(report, len(rows))


def _one(
    context: Context,
    name: str,
    rows: list[PolicyPrompt],
    judge: Judge,
    out: Path | None,
    quiet: bool,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Evaluate one model; answers come from where a killed run left them."""
    from rbr.evaluation.safety import evaluate_model
    from rbr.files import write_rows
    from rbr.files import digest_of, file_digest

    settings = context.settings.evaluation
    made = context.root / "models" / name
    source = made if made.is_dir() else Path(name) if Path(name).is_dir() else name
    weights = Path(source) / "model.safetensors"
    key = digest_of(
        file_digest(weights) if weights.exists() else str(source),
        settings.max_new_tokens,
        [[[m.role, m.content] for m in row.conversation] for row in rows],
    )
    folder = (out or context.root / ".cache" / "evaluations") / key
    with Progress(console=console, transient=True, disable=quiet) as progress:
        task = progress.add_task(f"answers of {name}", total=len(rows))
        result, judged = evaluate_model(
            source,
            rows,
            judge,
            settings.max_new_tokens,
            settings.batch_size,
            settings.bootstrap,
            kept=folder / "answers.jsonl",
            progress=lambda done, total: progress.update(task, completed=done),
            scale=context.settings.scale,
        )
    write_rows(folder / "judged.jsonl", judged)
    return {**result, "kept": str(folder / "judged.jsonl")}, judged


def _show(report: dict[str, Any], count: int) -> None:
    from pipeline.release.comparison_table import TITLES

    judge = report["judge"]
    console.print(
        f"{count} prompts of {report['prompts']}; judge {judge['name']}: right on held-out gold in"
        f" {judge['refusal_accuracy']:.1%} (refusals), {judge['disallowed_accuracy']:.1%}"
        " (disallowed content)"
    )
    table = Table("model", *TITLES.values())
    for name, result in report["models"].items():
        cells = [
            f"{v:.1%} \\[{low:.1%}, {high:.1%}]" for v, low, high in result["metrics"].values()
        ]
        table.add_row(name, *cells)
    console.print(table)
    for name, result in report["models"].items():
        for title, shares in (
            ("completion classes", result["classes"]),
            ("refusals", result["refusals"]),
        ):
            columns = sorted({column for own in shares.values() for column in own})
            shown = Table(f"{name}: {title}", *columns)
            for row, own in shares.items():
                shown.add_row(row, *(f"{own.get(column, 0.0):.0%}" for column in columns))
            console.print(shown)
        console.print(f"answers and judgements: {result['kept']}")
    if "difference" in report:
        first, second = report["models"]
        gaps = Table(f"{first} less {second}", "difference", "only first", "only second", "p", "")
        for name, own in report["difference"].items():
            counts = ["", "", ""]
            if own["p_value"] is not None:
                counts = [str(own["only_first"]), str(own["only_second"]), f"{own['p_value']:.3g}"]
            value = f"{own['value']:+.1%} \\[{own['low']:+.1%}, {own['high']:+.1%}]"
            gaps.add_row(TITLES[name], value, *counts, own["verdict"])
        console.print(gaps)
