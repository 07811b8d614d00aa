"""Safety prompts with their response types, split by family."""

from __future__ import annotations

from collections import Counter

from rbr.data.rows import PolicyPrompt, Prompt
from rbr.data.splits import split_prompts
from rbr.errors import DataError
from rbr.files import read_folder, write_json, write_rows
from rbr.steps.context import Context


def run(context: Context) -> dict[str, float]:
    settings = context.settings.prompts
    rules = context.rules
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
    splits = split_prompts(rows, settings, context.settings.seed)
    if settings.limit:
        total = len(rows)
        splits = {
            name: members[:: max(1, total // settings.limit)] for name, members in splits.items()
        }
    counts = Counter(row.response_type for members in splits.values() for row in members)
    metrics: dict[str, float] = {f"{name}_prompts": len(m) for name, m in splits.items()}
    metrics["families"] = len({row.family for members in splits.values() for row in members})
    metrics["comply_share"] = round(counts["comply"] / max(1, sum(counts.values())), 4)
    with context.output("safety_prompts") as folder:
        for name, members in splits.items():
            members.sort(key=lambda row: row.id)
            write_rows(folder / f"{name}.jsonl", members)
        write_json(folder / "metrics.json", metrics)
    return metrics
