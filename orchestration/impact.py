"""The impact of a rule change: artifacts that are made again, and grades that are missing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from pipeline import rows
from rbr.comparisons.synthetic import chosen_prompts, composed, requested
from rbr.data.gold import gold_rows
from rbr.data.rows import Conversation
from rbr.data.splits import policy_prompts
from rbr.evaluation.nonsense import word_salad
from rbr.files import read_json
from rbr.grading.store import GradeStore, grade_keys, judged_text
from rbr.rules.compiled import compiled
from rbr.rules.rules import Rules

if TYPE_CHECKING:
    from pipeline.artifact import Artifact
    from pipeline.context import Context

Completion = tuple[Conversation, str]


def changed_sections(
    before: Rules, now: Rules, engine: str, judge: str = "head", chat: bool = False
) -> set[str]:
    """Sections whose compiled file differs, which is what DVC sees.

    Args:
        engine, judge, chat: see ``compiled``.
    """
    old, new = compiled(before, engine, judge, chat), compiled(now, engine, judge, chat)
    return {name for name in new if new[name] != old[name]}


def affected_artifacts(graph: Mapping[str, Artifact], sections: set[str]) -> list[str]:
    """Keys of the artifacts that read one of the sections, and of those downstream, inputs first."""
    affected: list[str] = []
    changed: set[str] = set()
    for key, artifact in graph.items():
        if sections & set(artifact.rules) or changed & set(artifact.inputs):
            affected.append(key)
            # The simulated annotators look at composed completions alone, not at what is graded.
            same = key == "human_preferences" and not (
                sections & set(artifact.rules) or "safety_prompts" in affected
            )
            if not same:
                changed.add(key)
    return affected


def new_grades(context: Context, before: Rules, now: Rules, affected: Collection[str]) -> int:
    """Grades that the grade store lacks: one for each proposition and completion.

    Exact where the artifacts of ``before`` exist, since completions are composed from the seed; only
    the base model's answers to requests are counted as if none were confirmed before the last attempt.
    Not counted is what is never stored: the grades of demonstrations, and of a trained policy's answers in
    PPO and in the report.

    Args:
        affected: as ``affected_artifacts`` returns it.
    """
    if not {"synthetic_comparisons", "graded_comparisons", "grader_accuracy"} & set(affected):
        return 0
    graders, former = _graders(context), before.grading_texts()
    known, unknown = [], 0
    for name, text in now.grading_texts().items():
        # Fitted again, all heads are new; a yes/no prompt is where its text or the gold rows changed.
        refitted = "grader" in affected and (
            context.settings.grader.engine == "head" or text != former.get(name)
        )
        if name in graders and not refitted:
            known.append(judged_text(text, graders[name]))
        else:
            unknown += 1
    completions, generated = _completions(context, now, affected)
    keys = {
        key for conversation, text in completions for key in grade_keys(known, conversation, text)
    }
    missing = len(keys) - _stored(context, keys)
    # Other prompts get other answers; to the same ones the base model answers the same.
    per_answer = len(now.proposition_names) if "safety_prompts" in affected else unknown
    return missing + unknown * len(completions) + generated * per_answer


def _stored(context: Context, keys: set[bytes]) -> int:
    path = context.root / ".cache" / "grades.sqlite"
    if not path.exists():
        return 0
    store = GradeStore(path)
    try:
        return len(store.get(list(keys)))
    finally:
        store.close()


def _graders(context: Context) -> dict[str, str]:
    """Identity of the grader of each proposition's grades; empty before the first run."""
    path = context.path("graded_comparisons") / "judged_by.json"
    if not path.exists():
        return {}
    return {name: str(judged["grader"]) for name, judged in read_json(path).items()}


def _completions(
    context: Context, now: Rules, affected: Collection[str]
) -> tuple[set[Completion], int]:
    """Completions that the artifacts grade, and how many answers of the base model beside them."""
    found: set[Completion] = set()
    generated = 0
    settings, seed = context.settings, context.settings.seed
    if "synthetic_comparisons" in affected:
        options = settings.comparisons
        folder, share = context.source / "safety_prompts", settings.attacks.train_share
        prompts = policy_prompts(folder, now, settings.prompts, seed, share)
        chosen = chosen_prompts(prompts, options.prompts_per_type, options.heldout_per_type, seed)
        for split, some in chosen.items():
            drafts = composed(some, now, options.bad_per_prompt, seed, split)
            found |= {(draft.prompt.conversation, draft.completion) for draft in drafts}
            share = options.generated_share if split == "train" else 0.0
            requests = requested(some, now, share, options.bad_per_prompt, seed)
            generated += len(requests) * options.attempts
    elif "graded_comparisons" in affected and context.path("synthetic_comparisons").is_dir():
        for split in rows.SPLITS:
            comparisons = rows.comparisons(context, split)
            found |= {(row.conversation, row.completion) for row in comparisons}
    if "grader_accuracy" in affected:
        heldout = gold_rows(context.source / "gold", settings.gold, seed)["heldout"]
        heldout += word_salad(heldout, now, seed)
        found |= {(row.conversation, row.completion) for row in heldout}
    return found, generated
