"""``rbr evaluate``: a model's safety and over-refusal, alone or beside another model."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestration.cli import common
from rbr.errors import DataError, RBRError

if TYPE_CHECKING:
    from pipeline.context import Context
    from rbr.data.rows import PolicyPrompt
    from rbr.evaluation.judge import Judge
    from rbr.grading.base import Grader
    from rbr.grading.options import GraderOptions
    from rbr.rules.rules import Rules


def read_prompts(path: Path, rules: Rules) -> list[PolicyPrompt]:
    """Prompts of this project (JSONL), of XSTest (CSV) or of OpenAI's gold rows (each prompt once).

    Raises:
        DataError: naming the first row that cannot be read, or whose response type the rules do not have.
    """
    from rbr.data.evaluation_sets import for_policy
    from rbr.data.importers import is_openai_gold, read_whole
    from rbr.data.rows import PolicyPrompt
    from rbr.files import placed_rows

    if path.suffix.lower() == ".csv":
        prompts = read_whole("xstest", path)
    elif is_openai_gold(path):
        prompts = read_whole("openai-prompts", path)
    else:
        rows = placed_rows(path, PolicyPrompt)
        for place, row in rows:
            if row.response_type not in rules.response_types:
                allowed = ", ".join(rules.response_types)
                text = f"response_type '{row.response_type}' is not one of {allowed}"
                raise DataError(
                    f"{text}: import the set again under these rules, or change it", place
                )
        return [row for _, row in rows]
    if not prompts:
        raise DataError("no prompts in it", path)
    each = {row.conversation: row for row in prompts if isinstance(row, PolicyPrompt)}
    return for_policy(each.values(), rules)


def open_judge(
    context: Context, name: str | None, address: str | None
) -> tuple[Judge, dict[str, float]]:
    """The fitted judge, or a model on an OpenAI-compatible server; and its accuracy on held-out gold.

    Args:
        name: a settings file, an address, or a model's name at ``address``.
    """
    from pipeline.loading import load_judge_grader
    from rbr.evaluation.judge import Judge
    from rbr.files import read_json
    from rbr.grading.composed import ComposedGrader
    from rbr.grading.consistency import ConsistentGrader
    from rbr.grading.load import make_guard, make_uncalibrated
    from rbr.grading.store import GradeStore, StoredGrader

    rules = common.compiled_rules(context)
    if name is None:
        accuracy = read_json(common.artifact(context, "judge") / "metrics.json")
        common.artifact(context, "judge_model")
        return Judge(load_judge_grader(context), rules), accuracy
    options = judge_options(context, name, address)
    grader: Grader
    if options.engine == "head":
        if options.guard is None:
            raise RBRError("--judge: the engine 'head' is the fitted judge: leave --judge out")
        common.artifact(context, "judge"), common.artifact(context, "judge_model")
        grader = load_judge_grader(context)
    else:
        grader = make_uncalibrated(options, rules, options.model or options.served_name or "")
    if options.guard:
        grader = ComposedGrader(grader, make_guard(options.guard, options, rules))
    store = GradeStore(context.root / ".cache" / "grades.sqlite")
    stored = ConsistentGrader(StoredGrader(grader, store, rules.grading_texts()), rules.relations)
    return Judge(stored, rules), accuracy_of(stored, rules, context)


def judge_options(context: Context, name: str, address: str | None) -> GraderOptions:
    """The settings of a judge that is named on the command line.

    Raises:
        RBRError: if the file has no such settings, or a model is named without its address.
    """

    from pipeline.profile import read_yaml, validated
    from rbr.grading.load import served_model
    from rbr.grading.options import GraderOptions

    if name.endswith((".yaml", ".yml")):
        return validated(GraderOptions, read_yaml(Path(name)), Path(name))
    if name.startswith(("http://", "https://")):
        return GraderOptions(engine="chat", address=name, served_name=served_model(name))
    if address is None:
        raise RBRError(
            "--judge NAME needs --judge-address, the URL of its server (…/v1); or give that URL, or a"
            " settings file, as --judge"
        )
    return context.settings.grader.model_copy(
        update={"engine": "openai", "model": name, "address": address, "guard": None}
    )


def accuracy_of(
    grader: Grader, rules: Rules, context: Context, limit: int = 60
) -> dict[str, float]:
    """Accuracy of a judge on the first held-out gold rows, as the artifact ``judge`` states it."""
    from pipeline import rows
    from rbr.grading.accuracy import judge_accuracy, measure

    common.artifact(context, "gold_propositions")
    gold = rows.gold(context, "heldout")[:limit]
    return judge_accuracy(grader, gold, measure(grader, gold, rules), rules)


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
        str | None,
        typer.Option(
            help="A chat server's URL (…/v1), a settings file of a grader (YAML), or a model's name on"
            " --judge-address; the fitted one by default."
        ),
    ] = None,
    judge_address: Annotated[
        str | None, typer.Option(help="URL of an OpenAI-compatible server (…/v1).")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where answers and judgements are kept; a stopped run continues there."),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="At most this many prompts.", min=1)] = None,
    as_json: common.JsonOption = False,
    root: common.RootOption = None,
) -> None:
    """Not-Unsafe, Not-Overrefuse, F1*, ideal refusals and harm on comply, with 95 % intervals."""
    from pipeline.release.differences import number, power
    from rbr.evaluation.clusters import holm
    from rbr.evaluation.paired import compare
    from rbr.evaluation.safety import as_verdict
    from rbr.grading.base import usage_metrics

    context = common.open_context(root)
    if out is not None:
        common.make_folder(out, "--out")
    names = [model] if against is None else [model, against]
    for name in names:
        common.model_source(context, name)
    path = prompts or common.artifact(context, "safety_prompts") / "eval.jsonl"
    chosen = read_prompts(path, common.compiled_rules(context))[:limit]
    loaded_judge, accuracy = open_judge(context, judge, judge_address)
    results, verdicts = {}, []
    for name in names:
        results[name], judged = _evaluate_one(context, name, chosen, loaded_judge, out, as_json)
        verdicts.append([as_verdict(row) for row in judged])
    sides = {str(loaded_judge.rules.types[row.response_type].counts) for row in chosen}
    report: dict[str, Any] = {
        "prompts": str(path),
        "missing": sorted({"over_refusal", "unsafe"} - sides),
        "judge": {
            "name": judge or "fitted",
            **accuracy,
            **usage_metrics(loaded_judge.grader),
        },
        "models": results,
    }
    if against is not None:
        differences = compare(verdicts[0], verdicts[1], context.settings.evaluation.bootstrap)
        corrected = holm([number(difference.p_value) for difference in differences.values()])
        report["difference"] = {
            name: {**asdict(difference), "p_holm": p, "verdict": difference.verdict}
            for (name, difference), p in zip(differences.items(), corrected, strict=True)
        }
        report["power"] = power(verdicts[0], [differences])
    if as_json:
        common.print_json(report)
    else:
        _show(report, len(chosen))


def _evaluate_one(
    context: Context,
    name: str,
    prompts: list[PolicyPrompt],
    judge: Judge,
    out: Path | None,
    quiet: bool,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Evaluate one model, continuing from the answers that a killed run left."""
    from rbr.evaluation.fluency import Fluency
    from rbr.evaluation.safety import evaluate_model
    from rbr.files import digest_of, write_rows
    from rbr.grading.load import model_identity

    settings = context.settings.evaluation
    source = common.model_source(context, name)
    key = digest_of(
        model_identity(source),
        settings.max_new_tokens,
        [[[m.role, m.content] for m in prompt.conversation] for prompt in prompts],
    )
    folder = (out or context.root / ".cache" / "evaluations") / key
    base = context.path("base_model")
    with common.progress_bar(f"answers of {name}", hidden=quiet) as progress:
        result, judged = evaluate_model(
            source,
            prompts,
            judge,
            settings.max_new_tokens,
            settings.batch_size,
            settings.bootstrap,
            kept=folder / "answers.jsonl",
            progress=progress,
            scale=context.settings.scale,
            fluency=Fluency(base) if base.is_dir() else None,
        )
    write_rows(folder / "judged.jsonl", judged)
    return {**result, "kept": str(folder / "judged.jsonl")}, judged


def _show(report: dict[str, Any], count: int) -> None:
    from pipeline.release.comparison_table import TITLES

    judge, models = report["judge"], report["models"]
    common.console.print(
        f"{count} prompts of {report['prompts']}; judge {judge['name']}: right on held-out gold in"
        f" {_share(judge['refusal_accuracy'])} (refusals), {_share(judge['disallowed_accuracy'])}"
        " (disallowed content)"
    )
    if "grading_requests" in judge:
        tokens = judge["grading_prompt"] + judge["grading_completion"]
        cost = f", cost {judge['grading_cost']:.2f}" if "grading_cost" in judge else ""
        common.console.print(f"the judge took {tokens:,.0f} tokens{cost}")
    for side in report["missing"]:
        common.console.print(
            f"no prompts that count as {side}: what is measured on them has no value"
        )
    metrics = list(next(iter(models.values()))["metrics"])
    common.print_table(
        ["model", *(TITLES[metric] for metric in metrics)],
        [
            [name, *(_cell(metric, *result["metrics"][metric]) for metric in metrics)]
            for name, result in models.items()
        ],
    )
    for name, result in models.items():
        _show_shares(f"{name}: completion classes", result["classes"])
        _show_shares(f"{name}: good enough", result["qualities"])
        _show_shares(f"{name}: wanted, and given", result["confusion"])
        _show_shares(f"{name}: refusals", result["refusals"])
        common.console.print(f"answers and judgements: {result['kept']}")
    if "difference" in report:
        first, second = models
        tests = ("only first", "only second", "p", "p (Holm)")
        common.print_table(
            [f"{first} less {second}", "difference", *tests, ""],
            [
                [TITLES[name], *_difference_cells(difference)]
                for name, difference in report["difference"].items()
            ],
        )
        for note in report.get("power", ()):
            common.console.print(note, markup=False)


def _share(value: float, sign: str = "") -> str:
    return "-" if math.isnan(value) else f"{value:{sign}.1%}"


def _with_interval(value: float, low: float, high: float, sign: str = "") -> str:
    return f"{_share(value, sign)} \\[{_share(low)}, {_share(high)}]"


def _cell(metric: str, value: float, low: float, high: float) -> str:
    if metric == "fluency" and not math.isnan(value):
        return f"{value:.2f} \\[{low:.2f}, {high:.2f}]"
    return _with_interval(value, low, high)


def _show_shares(title: str, shares: dict[str, dict[str, float]]) -> None:
    columns = sorted({column for row in shares.values() for column in row})
    common.print_table(
        [title, *columns],
        [[name, *(f"{row.get(c, 0.0):.0%}" for c in columns)] for name, row in shares.items()],
    )


def _difference_cells(difference: dict[str, Any]) -> list[str]:
    counts = (difference.get(key) for key in ("only_first", "only_second"))
    p_values = (difference.get(key) for key in ("p_value", "p_holm"))
    tested = ["" if count is None else str(count) for count in counts]
    tested += ["" if p is None or math.isnan(p) else f"{p:.3g}" for p in p_values]
    value = _with_interval(difference["value"], difference["low"], difference["high"], "+")
    return [value, *tested, difference["verdict"]]
