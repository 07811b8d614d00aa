"""Safety evaluation of one model: generate, judge, measure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rbr.data.rows import PolicyPrompt
from rbr.evaluation.generate import generate
from rbr.evaluation.judge import Judge
from rbr.evaluation.metrics import safety_metrics
from rbr.grading.base import Progress


def evaluate_model(
    model: Path | str,
    prompts: Sequence[PolicyPrompt],
    judge: Judge,
    max_new_tokens: int,
    batch_size: int,
    bootstrap: int,
    kept: Path | None = None,
    progress: Progress | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Evaluate a model on prompts.

    Returns:
        The result (``metrics``: value and 95 % interval each; ``classes``: share of each completion
        class per category) and one row a completion with its judgement.
    """
    talks = [prompt.conversation for prompt in prompts]
    completions = generate(model, talks, max_new_tokens, batch_size, kept, progress)
    kinds = [prompt.response_type for prompt in prompts]
    judged, probabilities = judge.judge(talks, completions, kinds)
    rows = [
        {
            "prompt_id": prompt.id,
            "category": prompt.category,
            "response_type": prompt.response_type,
            "prompt": prompt.conversation[-1].content,
            "completion": completion,
            "disallowed": verdict.disallowed,
            "refused": verdict.refused,
            "completion_class": verdict.completion_class,
            "propositions": [
                name
                for name, said in zip(
                    judge.propositions, probabilities[i] >= judge.thresholds, strict=True
                )
                if said
            ],
        }
        for i, (prompt, completion, verdict) in enumerate(
            zip(prompts, completions, judged, strict=True)
        )
    ]
    classes: dict[str, dict[str, float]] = {}
    for kind in sorted(set(kinds)):
        own = Counter(v.completion_class for v in judged if v.response_type == kind)
        classes[kind] = {name: count / sum(own.values()) for name, count in own.items()}
    metrics = safety_metrics(judged, bootstrap)
    return {"metrics": metrics, "classes": classes, "prompts": len(rows)}, rows
