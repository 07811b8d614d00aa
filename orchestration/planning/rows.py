"""How many rows each artifact works on, counted by the functions that make them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pipeline.profile import Settings
from pipeline.variants import VARIANTS
from rbr.comparisons.compose import composed_only, labels_of
from rbr.comparisons.synthetic import chosen_prompts
from rbr.data.attacks import attack_templates, heldout_attacks
from rbr.data.gold import gold_rows
from rbr.data.preferences import helpful_pairs
from rbr.data.rows import CapabilityItem, CapabilityText, HelpfulPrompt
from rbr.data.splits import policy_prompts
from rbr.files import read_rows
from rbr.rules.rules import load_rules
from rbr.training.demonstrations import answers_and_refusals


@dataclass(frozen=True)
class RowCounts:
    """Rows of a profile.

    Attributes:
        gold: gold rows of each of ``rbr.data.gold.ROLES``.
        comparisons: composed ones.
        requests: comparisons that a model is asked to write: the base model, or a chat model.
        pairs: that each reward model is trained on.
        sampled: answers of the base model to learn from, by artifact; refused ones are asked for with
            examples.
        refused: those to prompts to be refused, at the first attempt.
        demonstrations: by variant; variants with the same ones share a model, counted once.
        episodes: of one variant's RL.
        evaluated: prompts that each evaluated model answers.
        attacked: prompts in frames of attack forms that it answers too.
        capability: forward passes of one model's capability evaluation.
    """

    gold: dict[str, int]
    comparisons: int
    requests: int
    pairs: dict[str, int]
    sampled: dict[str, int]
    refused: int
    demonstrations: dict[str, int]
    episodes: int
    evaluated: int
    attacked: int
    capability: int
    propositions: int


def count_rows(root: Path, settings: Settings) -> RowCounts:
    """Count what ``data/source`` and ``rules`` become under these settings.

    Raises:
        RBRError: if rules or rows cannot be read.
    """
    source, seed, options = root / "data" / "source", settings.seed, settings.comparisons
    rules = load_rules(root / "rules")
    prompts = policy_prompts(source / "safety_prompts", rules, settings.prompts, seed)
    frames = attack_templates(source / "safety_prompts")["heldout"]
    gold = gold_rows(source / "gold", settings.gold, seed)
    helpful = len(helpful_pairs(source, settings.prompts, seed)["train"])
    chosen = chosen_prompts(prompts, options.prompts_per_type, options.heldout_per_type, seed)
    in_train = Counter(prompt.response_type for prompt in chosen["train"])
    in_all = Counter(prompt.response_type for split in chosen.values() for prompt in split)
    labels = {name: labels_of(rules, name) for name in in_all}
    several, further_bad = rules.completions.several, options.bad_per_prompt - 1
    completions = {
        name: len(own) + further_bad * sum(label in several for label in own)
        for name, own in labels.items()
    }
    # Of a share of the train prompts that have recipes; of all prompts of types that have none.
    composable = sum(
        n * sum(not composed_only(rules, name, label) for label in labels[name])
        for name, n in in_train.items()
    )
    requests = round(options.generated_share * composable) + sum(
        n * (len(own) + further_bad * sum(label in several for label in own))
        for name, n in in_all.items()
        if not labels[name]
        for own in [rules.reward[name].labels]
    )
    # Two draws per prompt; those of equal rank, about a fifth, make no pair.
    human = 2 * in_train.total()
    own = settings.demonstrations
    comply = sum(prompt.over_refusal for prompt in prompts["train"])
    complied = min(own.comply_prompts, comply)
    everyday = len(read_rows(source / "helpful_prompts.jsonl", HelpfulPrompt))
    sampled = {
        "helpful_demonstrations": min(own.helpful_prompts, everyday) * own.samples,
        "safety_demonstrations": complied * own.samples,
    }
    safety_demonstrations = {
        "none": 0,
        "human": min(answers_and_refusals(settings.sft, settings.sft.safety_demos)[1], human),
        "rules": sum(answers_and_refusals(settings.sft, complied * own.samples)),
    }
    variants = {VARIANTS[name].demonstrations: name for name in settings.variants}
    items = read_rows(source / "capability.jsonl", CapabilityItem)
    items = items[: settings.evaluation.capability_items]
    texts = read_rows(source / "capability_text.jsonl", CapabilityText)
    limit = settings.reward_model.max_pairs
    return RowCounts(
        gold={role: len(found) for role, found in gold.items()},
        comparisons=sum(count * completions[name] for name, count in in_all.items()),
        requests=requests,
        pairs={
            "helpful_reward_model": min(limit, helpful),
            "human_reward_model": min(limit, helpful + human),
        },
        sampled=sampled,
        refused=min(own.refuse_prompts, len(prompts["train"]) - comply),
        demonstrations={
            variant: min(settings.sft.helpful_demos, sampled["helpful_demonstrations"])
            + safety_demonstrations[kind]
            for kind, variant in variants.items()
        },
        episodes=settings.rl.steps * settings.rl.prompts_per_step,
        evaluated=min(settings.evaluation.prompts, len(prompts["eval"])),
        attacked=len(
            heldout_attacks(prompts["eval"], frames, settings.attacks.heldout_prompts, seed)
        ),
        capability=len(texts) + sum(len(item.choices) for item in items),
        propositions=len(rules.proposition_names),
    )
