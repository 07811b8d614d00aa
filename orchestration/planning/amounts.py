"""How many rows each step works on, counted as the steps themselves would."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rbr.comparisons.compose import labels_of
from rbr.comparisons.conditioned import COMPOSED_ONLY
from rbr.data.rows import CapabilityItem, CapabilityText
from rbr.files import read_rows
from rbr.rules import load_rules
from rbr.steps import gold_propositions, helpful_preferences, safety_prompts, sft_checkpoint
from rbr.steps import synthetic_comparisons as comparisons
from pipeline.context import Context


@dataclass(frozen=True)
class Amounts:
    """Rows.

    Attributes:
        gold_seen: gold rows of the grader's tuning, each as often as it is seen.
        composed_seen: composed rows of it.
        gold_kept: those that calibrate it.
        judge_gold_seen, judge_composed_seen: of the judge.
        gold_heldout: rows that accuracy is measured on.
        comparisons: composed ones; ``ordered`` those that the model is asked for, once each.
        pairs, human_pairs: that a reward model is trained on.
        heldout_pairs: that it is measured on.
        demonstrations: a variant that is fine-tuned; human_rbr takes rbr's model.
        episodes: of one variant's RL.
        evaluated: prompts; a model answers each once.
        capability: passes of one model.
    """

    gold_seen: int
    composed_seen: int
    gold_kept: int
    judge_gold_seen: int
    judge_composed_seen: int
    gold_heldout: int
    comparisons: int
    ordered: int
    pairs: int
    human_pairs: int
    demonstrations: dict[str, int]
    episodes: int
    evaluated: int
    capability: int
    propositions: int

    def with_(self, prompts: int | None, per_prompt: int | None, episodes: int | None) -> Amounts:
        """The same with other numbers of comparisons or episodes."""
        changed: dict[str, int] = {}
        if prompts:
            changed["comparisons"] = prompts * (per_prompt or 4)
            changed["ordered"] = round(self.ordered * changed["comparisons"] / self.comparisons)
        if episodes:
            changed["episodes"] = episodes
        return replace(self, **changed)  # type: ignore[arg-type]


def amounts(context: Context) -> Amounts:
    """Count what people wrote (``data/source``, ``rules``) under the context's profile.

    Raises:
        RBRError: if rules or rows cannot be read.
    """
    settings = context.settings
    rules = load_rules(context.root / "rules")
    splits = safety_prompts.by_split(context, rules)
    train, heldout = gold_propositions.by_split(context)
    chosen = comparisons.chosen_prompts(splits, context)
    made = {
        kind: sum(
            settings.comparisons.bad_per_prompt if label == "bad" else 1
            for label in labels_of(rules, kind)
        )
        for kind in rules.response_types
    }
    asked = {kind: len(set(labels_of(rules, kind)) - COMPOSED_ONLY) for kind in rules.response_types}
    share = settings.comparisons.generated_share
    helpful = helpful_preferences.pairs_by_split(context)
    most = settings.reward_model.max_pairs
    kept = {
        name: round(options.validation_fraction * len(train))
        for name, options in (("grader", settings.grader.tuning), ("judge", settings.judge.tuning))
    }
    kinds = {p.response_type for p in splits["train"]}

    def composed(per_type: int, comply: int) -> int:
        return sum(comply if kind == "comply" else per_type for kind in kinds)

    sft = settings.sft
    own = min(sft.helpful_demos, len(helpful["train"]))
    texts = read_rows(context.source / "capability_text.jsonl", CapabilityText)
    items = read_rows(context.source / "capability.jsonl", CapabilityItem)
    items = items[: settings.evaluation.capability_items]
    written = sum(bool(p.answer) for p in splits["train"])
    # Two draws a prompt; those of equal rank, about a fifth, make no pair.
    simulated = 2 * len(chosen["train"])
    return Amounts(
        gold_seen=(len(train) - kept["grader"]) * settings.grader.tuning.gold_epochs,
        composed_seen=composed(settings.grader.composed_per_type, settings.grader.composed_comply),
        gold_kept=kept["grader"],
        judge_gold_seen=(len(train) - kept["judge"]) * settings.judge.tuning.gold_epochs,
        judge_composed_seen=composed(
            settings.judge.composed_per_type, settings.judge.composed_comply
        ),
        gold_heldout=len(heldout),
        comparisons=sum(made[p.response_type] for own in chosen.values() for p in own),
        ordered=round(share * sum(asked[p.response_type] for p in chosen["train"])),
        pairs=min(most, len(helpful["train"])),
        human_pairs=min(most, len(helpful["train"]) + simulated),
        demonstrations={
            "helpful": own,
            "human": own + min(sft.safety_demos, simulated),
            "rbr": own + sum(sft_checkpoint.shares(sft, written)),
        },
        episodes=settings.rl.steps * settings.rl.prompts_per_step,
        evaluated=min(settings.evaluation.prompts, len(splits["eval"])),
        capability=len(texts) + sum(len(item.choices) for item in items),
        propositions=len(rules.proposition_names),
    )
