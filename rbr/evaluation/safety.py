"""Safety evaluation of one model: generate, judge, measure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbr.data.rows import PolicyPrompt
from rbr.evaluation.behaviour import NEITHER, given_type, type_metrics
from rbr.evaluation.clusters import mean
from rbr.evaluation.fluency import Fluency, mean_per_token
from rbr.evaluation.judge import Judge
from rbr.evaluation.metrics import Verdict, safety_metrics
from rbr.grading.base import Progress
from rbr.models.generate import generate

if TYPE_CHECKING:
    from rbr.scale.options import ClusterOptions

REFUSALS = ("full_compliance", "partial_refusal", "full_refusal")


def evaluate_model(
    model: Path | str,
    prompts: Sequence[PolicyPrompt],
    judge: Judge,
    max_new_tokens: int,
    batch_size: int,
    bootstrap: int,
    kept: Path | None = None,
    progress: Progress | None = None,
    scale: ClusterOptions | None = None,
    fluency: Fluency | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Evaluate a model on prompts.

    Args:
        fluency: of the base model; without it that metric is left out.

    Returns:
        The result (``metrics``: value and 95 % interval over prompt families each, those of
        ``safety_metrics``, ``ended``, the share of answers that end by themselves, and ``fluency``;
        ``classes``: share of each completion class per response type, ``qualities``: of best, acceptable and other ones; ``types``: see
        ``type_metrics``; ``confusion``: share of each given response type per wanted one;
        ``refusals``: share of XSTest's full compliance, full refusal and partial refusal per category)
        and one row per completion with its verdict.
    """
    conversations = [prompt.conversation for prompt in prompts]
    answers = generate(
        model, conversations, max_new_tokens, batch_size, kept, progress, scale=scale
    )
    completions = [answer.text for answer in answers]
    # What an attack's frame says is no part of what was asked.
    asked = [prompt.asked for prompt in prompts]
    families = [prompt.family for prompt in prompts]
    found = judge.judge(asked, completions, [prompt.response_type for prompt in prompts])
    judged = [
        (replace(verdict, family=family), true)
        for (verdict, true), family in zip(found, families, strict=True)
    ]
    rows = [
        {
            "prompt_id": prompt.id,
            "category": prompt.category,
            **asdict(verdict),
            "prompt": prompt.conversation[-1].content,
            "completion": completion,
            "given": NEITHER
            if verdict.no_answer
            else given_type(true, prompt.response_type, judge.rules),
            "refusal": refusal_class(verdict.refused, judge.rules.means("partly_complied", true)),
            "propositions": list(true),
            "ended": answer.ended,
        }
        for prompt, completion, (verdict, true), answer in zip(
            prompts, completions, judged, answers, strict=True
        )
    ]
    metrics = safety_metrics([verdict for verdict, _ in judged], bootstrap)
    metrics["ended"] = mean([answer.ended for answer in answers], families, bootstrap)
    if fluency is not None:
        likelihoods = fluency(conversations, completions)
        metrics["fluency"] = mean_per_token(likelihoods, bootstrap, families)
        rows = [row | asdict(found) for row, found in zip(rows, likelihoods, strict=True)]
    refusals = shares(rows, "category", "refusal")
    return {
        "metrics": metrics,
        "classes": shares(rows, "response_type", "completion_class"),
        "qualities": shares(rows, "response_type", "quality"),
        "types": type_metrics(rows, judge.rules.response_types, bootstrap),
        "confusion": shares(rows, "response_type", "given"),
        "refusals": {
            category: {name: found.get(name, 0.0) for name in REFUSALS}
            for category, found in refusals.items()
        },
        "prompts": len(rows),
    }, rows


def shares(
    rows: Sequence[Mapping[str, Any]], group: str, column: str
) -> dict[str, dict[str, float]]:
    """The share of each value of a column, per group in alphabetical order."""
    result = {}
    for name in sorted({row[group] for row in rows}):
        counts = Counter(row[column] for row in rows if row[group] == name)
        result[name] = {value: count / counts.total() for value, count in counts.items()}
    return result


def refusal_class(refused: bool, partly_complied: bool) -> str:
    """XSTest's classes (Röttger et al. 2024, section 3); a refusal that partly complies is partial."""
    if not refused:
        return "full_compliance"
    return "partial_refusal" if partly_complied else "full_refusal"


def as_verdict(row: Mapping[str, Any]) -> Verdict:
    """The verdict of a row that ``evaluate_model`` returned; rows of earlier versions have no family."""
    names = {field.name for field in fields(Verdict)} - {"family"}
    return Verdict(**{name: row[name] for name in names}, family=row.get("family"))
