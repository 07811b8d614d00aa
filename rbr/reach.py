"""What a change of the rules reaches: steps that are made again, and grades that are asked for anew."""

from __future__ import annotations

import json
from collections.abc import Iterable

from rbr.files import read_json
from rbr.grading.base import Conversation
from rbr.grading.store import GradeStore, grade_keys, judged_text
from rbr.rules import Rules
from rbr.steps import STEPS, Context, common, gold_propositions, safety_prompts
from rbr.steps import synthetic_comparisons as comparisons

Completion = tuple[Conversation, str]


def changed_sections(before: Rules, now: Rules) -> set[str]:
    """Sections whose compiled file differs: what DVC sees."""
    old, new = before.sections(), now.sections()
    return {
        name
        for name in new
        if json.dumps(new[name], sort_keys=True) != json.dumps(old[name], sort_keys=True)
    }


def reached_steps(sections: set[str], engine: str) -> list[str]:
    """Steps that read one of the sections, and the steps after them, in the graph's order.

    Args:
        engine: of the grader. Fitted heads read no wordings: with them the grader is made again, and
            comes out as it was, when the wordings alone differ.
    """
    reached: list[str] = []
    passed_on: set[str] = set()
    for name, step in STEPS.items():
        read = sections & set(step.rules)
        if not read and not set(step.needs) & passed_on:
            continue
        reached.append(name)
        same = name == "grader" and engine == "head" and read == {"propositions"}
        if not same or set(step.needs) & passed_on:
            passed_on.add(name)
    return reached


def new_grades(context: Context, before: Rules, now: Rules, reached: Iterable[str]) -> int:
    """Grades that the grade store lacks: one for each proposition and completion.

    Exact where the artifacts of ``before`` are there, since completions are composed from the seed. What
    a trained policy answers is graded on top of it, in PPO and in the report, and not stored.

    Args:
        reached: as ``reached_steps`` says.
    """
    steps = set(reached)
    if not steps & {"synthetic_comparisons", "graded_comparisons", "grader_accuracy"}:
        return 0
    engine = context.settings.grader.engine
    refitted = "grader" in steps and not (
        engine == "head"
        and changed_sections(before, now) & set(STEPS["grader"].rules) == {"propositions"}
    )
    known = _graders(context)
    former = before.grading_texts()
    judged_by, lost = [], 0
    for name, text in now.grading_texts().items():
        # A grader that is fitted anew is another one: all heads together, a yes/no prompt if its text
        # or the gold rows changed.
        other = refitted and (engine == "head" or text != former.get(name))
        if name in known and not other:
            judged_by.append(judged_text(text, known[name]))
        else:
            lost += 1
    completions, generated = _completions(context, now, steps)
    store = GradeStore(context.root / ".cache" / "grades.sqlite")
    try:
        keys = {key for talk, text in completions for key in grade_keys(judged_by, talk, text)}
        missing = len(keys) - len(store.get(list(keys)))
    finally:
        store.close()
    # Other prompts get other answers; to the same ones the base model answers the same.
    of_generated = len(known) + lost if "safety_prompts" in steps else lost
    return missing + lost * len(completions) + generated * of_generated


def _graders(context: Context) -> dict[str, str]:
    """Per proposition the grader that the comparisons were graded by; empty before the first run."""
    path = context.path("graded_comparisons") / "judged_by.json"
    if not path.exists():
        return {}
    return {name: str(own["grader"]) for name, own in read_json(path).items()}


def _completions(context: Context, now: Rules, steps: set[str]) -> tuple[set[Completion], int]:
    """Completions that the steps grade, and how many answers of the base model on top of them."""
    found: set[Completion] = set()
    generated = 0
    if "synthetic_comparisons" in steps:
        splits = comparisons.chosen_prompts(safety_prompts.by_split(context, now), context)
        for split, prompts in splits.items():
            found |= {
                (prompt.conversation, text)
                for prompt, _, _, text, _ in comparisons.made_to_order(prompts, context, now, split)
            }
        generated = len(comparisons.generated_from(splits["train"], context))
    elif "graded_comparisons" in steps:
        for split in common.SPLITS:
            path = context.path("synthetic_comparisons") / f"{split}.jsonl"
            rows = common.comparisons(context, split) if path.exists() else []
            found |= {(row.conversation, row.completion) for row in rows}
    if "grader_accuracy" in steps:
        heldout = gold_propositions.by_split(context)[1]
        found |= {(row.conversation, row.completion) for row in heldout}
    return found, generated
