"""``rbr evaluate``: a model's safety and over-refusal, by the judge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rbr.cli.common import JsonOption, RootOption, artifact, console, open_context, print_json


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            help="Folder of a checkpoint, an artifact (ppo_checkpoint/rbr) or a hub name."
        ),
    ],
    prompts: Annotated[
        Path | None, typer.Option(help="JSONL of prompts; the held-out ones by default.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="At most this many prompts.", min=1)] = None,
    as_json: JsonOption = False,
    root: RootOption = None,
) -> None:
    """Not-Unsafe, Not-Overrefuse, F1* and share of ideal refusals, with 95 % intervals."""
    from rbr.data.rows import PolicyPrompt
    from rbr.evaluation.judge import Judge
    from rbr.evaluation.safety import evaluate_model
    from rbr.files import read_rows
    from rbr.release import TITLES

    context = open_context(root)
    settings = context.settings.evaluation
    judge_folder, judge_model = artifact(context, "judge"), artifact(context, "judge_model")
    path = prompts or artifact(context, "safety_prompts") / "eval.jsonl"
    rows = read_rows(path, PolicyPrompt)[:limit]
    judge = Judge(judge_folder, judge_model, context.rules)
    made = context.root / "models" / model
    with console.status(f"answering {len(rows)} prompts") as status:
        result, _ = evaluate_model(
            made if made.is_dir() else model,
            rows,
            judge,
            settings.max_new_tokens,
            settings.batch_size,
            settings.bootstrap,
            progress=lambda done, total: status.update(f"answered {done} of {total} prompts"),
        )
    if as_json:
        print_json(result)
        return
    console.print(f"{model}: {len(rows)} prompts of {path}")
    for name, (value, low, high) in result["metrics"].items():
        console.print(f"  {TITLES[name]:<16} {value:6.1%}  \\[{low:.1%}, {high:.1%}]")
