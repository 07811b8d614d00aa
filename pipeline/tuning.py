"""Fitting the grader and the judge into their artifacts: heads are tuned, prompts chosen and calibrated."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import rows
from pipeline.compiled_rules import compiled_rules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.context import Context
    from rbr.data.planting import Planted
    from rbr.data.rows import Labelled
    from rbr.grading.options import GraderOptions, TuningOptions


def fit(
    context: Context, model: Path, role: str, options: GraderOptions, output: Path
) -> dict[str, float]:
    """Fit a grader of any engine into ``output``, on the gold rows of ``role``.

    Args:
        model: what heads are tuned from, and what is asked where the options name no other.
    """
    from rbr.grading.load import fit_grader, make_grader
    from rbr.grading.yesno import save_prompts

    if options.engine == "head":
        return tune_heads(context, model, role, options.tuning, output)
    gold = rows.gold(context, role)
    random.Random(context.settings.seed).shuffle(gold)
    gold = gold[: options.prompt_rows]
    rules, servers = compiled_rules(context), servers_of(context, role)
    progress = context.progress(f"asking the {role} about gold rows")
    prompts, usage = fit_grader(options, rules, gold, model, servers, progress)
    save_prompts(output, prompts)
    alone = options.model_copy(update={"guard": None})
    fitted: Any = make_grader(alone, rules, output, model, servers, load=False).grader
    identities = {name: fitted.identity(name) for name in fitted.propositions}
    context.run.prompts(role, fitted.templates(), identities)
    return {"gold_rows": len(gold), **(usage.metrics("grading") if usage else {})}


def servers_of(context: Context, role: str) -> tuple[str, ...]:
    """Servers in place of the address in the settings: the reward's grader alone has them."""
    return context.settings.scale.grader_servers if role == "grader" else ()


def tune_heads(
    context: Context, model: Path, role: str, options: TuningOptions, output: Path
) -> dict[str, float]:
    """Tune a model with heads into ``output``; a stopped tuning resumes from its last checkpoint.

    Args:
        role: whose gold rows it learns from, one of ``rbr.data.gold.ROLES``.
    """
    from rbr.data.planting import plant
    from rbr.grading.load import model_identity
    from rbr.grading.tune import fine_tune
    from rbr.models.trainer import MetricsCallback

    rules, gold, seed = compiled_rules(context), rows.gold(context, role), context.settings.seed
    sentences = rows.sentences(context, role)
    labels = [[row.id, row.completion, row.true] for row in gold]
    labels += [[row.id, row.text, row.true] for row in sentences]
    context.log(f"tuning {options.layers} layers on {len(gold)} rows")

    def augment(trained: Sequence[Labelled]) -> list[Planted]:
        return plant(trained, sentences, round(options.planted * len(trained)), rules, seed)

    with context.checkpoints(options, seed, model_identity(model), labels) as checkpoints:
        tuned = fine_tune(
            model,
            gold,
            rules.proposition_names,
            options,
            checkpoints,
            seed,
            [MetricsCallback(context.run.metrics, "tuning")],
            rules.relations,
            augment,
        )
        tuned.save(output, {"engine": "head", "layers": options.layers})
    return tuned.metrics
