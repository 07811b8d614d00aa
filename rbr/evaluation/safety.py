"""Safety evaluation of one model: generate, judge, measure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbr.data.rows import PolicyPrompt
from rbr.evaluation.generate import generate
from rbr.evaluation.judge import Judge
from rbr.evaluation.metrics import Judged, safety_metrics
from rbr.grading.base import Progress

if TYPE_CHECKING:
    from rbr.settings import Scale

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
    scale: Scale | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Evaluate a model on prompts.

    Returns:
        The result (``metrics``: value and 95 % interval each; ``classes``: share of each completion
        class per response type; ``refusals``: share of XSTest's full compliance, full refusal and
        partial refusal per category) and one row a completion with its judgement.
    """
    talks = [prompt.conversation for prompt in prompts]
    completions = generate(model, talks, max_new_tokens, batch_size, kept, progress, scale=scale)
    kinds = [prompt.response_type for prompt in prompts]
    verdicts = judge.judge(talks, completions, kinds)
    judged = [verdict for verdict, _ in verdicts]
    rows = [
        {
            "prompt_id": prompt.id,
            "category": prompt.category,
            "response_type": prompt.response_type,
            "prompt": prompt.conversation[-1].content,
            "completion": completion,
            "disallowed": verdict.disallowed,
            "refused": verdict.refused,
            "refusal": refusal_class(verdict.refused, "partially_complies" in said),
            "completion_class": verdict.completion_class,
            "propositions": list(said),
        }
        for prompt, completion, (verdict, said) in zip(prompts, completions, verdicts, strict=True)
    ]
    classes: dict[str, dict[str, float]] = {}
    for kind in sorted(set(kinds)):
        own = Counter(v.completion_class for v in judged if v.response_type == kind)
        classes[kind] = {name: count / sum(own.values()) for name, count in own.items()}
    refusals: dict[str, dict[str, float]] = {}
    for category in sorted({prompt.category for prompt in prompts}):
        own = Counter(str(row["refusal"]) for row in rows if row["category"] == category)
        refusals[category] = {name: own[name] / sum(own.values()) for name in REFUSALS}
    return {
        "metrics": safety_metrics(judged, bootstrap),
        "classes": classes,
        "refusals": refusals,
        "prompts": len(rows),
    }, rows


def refusal_class(refused: bool, partially_complies: bool) -> str:
    """XSTest's classes (Röttger et al. 2024, section 3): what is refused, and yet partly given."""
    if not refused:
        return "full_compliance"
    return "partial_refusal" if partially_complies else "full_refusal"


def as_judged(row: Mapping[str, Any]) -> Judged:
    """A row's judgement, as the metrics take it."""
    return Judged(row["response_type"], row["disallowed"], row["refused"], row["completion_class"])
