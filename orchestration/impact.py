"""What a change of the rules reaches: steps that are made again, and grades that are asked for anew."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from pathlib import Path

from rbr.files import read_json
from rbr.grading.base import Conversation
from rbr.grading.store import GradeStore, grade_keys, judged_text
from rbr.rules import Rules
from rbr.rules.compiled import compiled
from pipeline.profile import VARIANTS, Variant
from rbr.steps import STEPS, Context, common, gold_propositions, safety_prompts
from rbr.steps import synthetic_comparisons as comparisons

Completion = tuple[Conversation, str]


def changed_sections(before: Rules, now: Rules, engine: str) -> set[str]:
    """Sections whose compiled file differs: what DVC sees.

    Args:
        engine: of the grader; decides what of the propositions its fit reads.
    """
    old, new = compiled(before, engine), compiled(now, engine)
    return {
        name
        for name in new
        if json.dumps(new[name], sort_keys=True) != json.dumps(old[name], sort_keys=True)
    }


Stage = tuple[str, Variant | None]


def reached_stages(sections: set[str]) -> list[Stage]:
    """Steps (of each variant, where there are) that read one of the sections, and those after them.

    Returns:
        In the graph's order.
    """
    reached: list[Stage] = []
    # Those that come out as they were.
    same: set[Stage] = set()
    for name, step in STEPS.items():
        for variant in VARIANTS if step.variants else (None,):
            before = {stage for need in step.needs_of(variant) for stage in _needed(need, variant)}
            if sections & set(step.rules_of(variant)) or before & set(reached) - same:
                reached.append((name, variant))
                if name == "human_preferences" and not composed_anew(sections, reached):
                    same.add((name, variant))
    return reached


def composed_anew(sections: set[str], reached: Collection[Stage]) -> bool:
    """Whether completions are composed otherwise: all that the simulated annotators look at."""
    return "completions" in sections or ("safety_prompts", None) in reached


def _needed(name: str, variant: Variant | None) -> list[Stage]:
    if not STEPS[name].variants:
        return [(name, None)]
    return [(name, variant)] if variant else [(name, own) for own in VARIANTS]


def new_grades(context: Context, before: Rules, now: Rules, reached: Iterable[Stage]) -> int:
    """Grades that the grade store lacks: one for each proposition and completion.

    Exact where the artifacts of ``before`` are there, since completions are composed from the seed; but
    the answers that the base model makes to order are counted as if none were confirmed before the last
    attempt. What a trained policy answers is graded on top of it, in PPO and in the report, and not
    stored.

    Args:
        reached: as ``reached_stages`` says.
    """
    steps = {name for name, _ in reached}
    if not steps & {"synthetic_comparisons", "graded_comparisons", "grader_accuracy"}:
        return 0
    engine = context.settings.grader.engine
    refitted = "grader" in steps
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
    keys = {key for talk, text in completions for key in grade_keys(judged_by, talk, text)}
    missing = len(keys) - _stored(context.root / ".cache" / "grades.sqlite", keys)
    # Other prompts get other answers; to the same ones the base model answers the same.
    of_generated = len(now.proposition_names) if "safety_prompts" in steps else lost
    return missing + lost * len(completions) + generated * of_generated


def _stored(path: Path, keys: set[bytes]) -> int:
    if not path.exists():
        return 0
    store = GradeStore(path)
    try:
        return len(store.get(list(keys)))
    finally:
        store.close()


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
                for prompt, _, _, text, _ in comparisons.composed(prompts, context, now, split)
            }
        asked = comparisons.ordered(splits["train"], context, now)
        generated = len(asked) * context.settings.comparisons.attempts
    elif "graded_comparisons" in steps:
        for split in common.SPLITS:
            path = context.path("synthetic_comparisons") / f"{split}.jsonl"
            rows = common.comparisons(context, split) if path.exists() else []
            found |= {(row.conversation, row.completion) for row in rows}
    if "grader_accuracy" in steps:
        heldout = gold_propositions.by_split(context)[1]
        found |= {(row.conversation, row.completion) for row in heldout}
    return found, generated
