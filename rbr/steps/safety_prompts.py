"""Safety prompts with their response types, split by family."""

from __future__ import annotations

from collections import Counter

from rbr.data.rows import PolicyPrompt, Prompt
from rbr.data.splits import kept_prompts
from rbr.errors import DataError
from rbr.files import read_folder, write_json, write_rows
from rbr.rules import Rules
from rbr.steps.context import Context


def by_split(context: Context, rules: Rules) -> dict[str, list[PolicyPrompt]]:
    """The written prompts with the response types that ``rules`` give them.

    Raises:
        DataError: if a prompt has an answer and should be refused, or the other way round.
    """
    written = read_folder(context.source / "safety_prompts", Prompt)
    rows = []
    for prompt in written:
        response_type = rules.response_type(prompt.category, prompt.kind)
        if (response_type == "comply") != (prompt.answer is not None):
            raise DataError(
                f"row '{prompt.id}': answer and partial are for comply prompts, and each of those has"
                f" them; the policy gives this one '{response_type}'",
                context.source / "safety_prompts",
            )
        rows.append(PolicyPrompt(**prompt.model_dump(), response_type=response_type))
    return kept_prompts(rows, context.settings.prompts, context.settings.seed)


def run(context: Context) -> dict[str, float]:
    splits = by_split(context, context.rules)
    counts = Counter(row.response_type for members in splits.values() for row in members)
    metrics: dict[str, float] = {f"{name}_prompts": len(m) for name, m in splits.items()}
    metrics["families"] = len({row.family for members in splits.values() for row in members})
    metrics["comply_share"] = round(counts["comply"] / max(1, sum(counts.values())), 4)
    with context.output("safety_prompts") as folder:
        for name, members in splits.items():
            write_rows(folder / f"{name}.jsonl", members)
        write_json(folder / "metrics.json", metrics)
    return metrics
