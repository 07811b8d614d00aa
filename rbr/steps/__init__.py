"""The pipeline's steps: one module an artifact, each ``run(context) -> metrics``.

``STEPS`` is the one description of the graph. ``dvc.yaml`` is generated from it and the Dagster
assets take their dependencies from it, so that both doors walk the same graph.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from rbr.settings import RULED, Variant
from rbr.steps.context import Context, Silent, Tracker

__all__ = ["STEPS", "Context", "Silent", "Step", "Tracker", "run_step"]


@dataclass(frozen=True)
class Step:
    """One artifact.

    Attributes:
        folder: ``data`` or ``models``.
        needs: artifacts read (those per variant: of the same variant, where this one has variants).
        sources: files or folders read that people write, relative to the root.
        rules: files of ``data/rules`` (the compiled rules) that matter to it.
        settings: sections (and single values) of the profile that matter to it.
        code: modules (files or folders under ``rbr``) whose change makes it stale.
        variants: whether there is one artifact per variant.
        only: of ``needs``, those that some variants alone read (``rules``: its sections too).
        gate: whether a gate must pass before the next step.
        description: shown in the Dagster UI and ``dvc.yaml``.
        group: Dagster group.
    """

    folder: Literal["data", "models"]
    description: str
    group: str
    needs: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    variants: bool = False
    only: Mapping[str, tuple[Variant, ...]] = field(default_factory=dict)
    gate: bool = True
    kinds: tuple[str, ...] = field(default=("python",))

    def needs_of(self, variant: str | None) -> tuple[str, ...]:
        """Artifacts that a variant's artifact reads; all of ``needs`` for None."""
        if variant is None:
            return self.needs
        return tuple(need for need in self.needs if variant in self.only.get(need, (variant,)))

    def rules_of(self, variant: str | None) -> tuple[str, ...]:
        """Sections of the rules that a variant's artifact reads; all of ``rules`` for None."""
        return self.rules if "rules" in self.needs_of(variant) else ()


STEPS: dict[str, Step] = {
    "rules": Step(
        "data",
        "The written rules, compiled: one canonical file a section, so that a comment changes nothing.",
        "policy",
        sources=("rules",),
        settings=("grader",),
        code=("rules",),
        kinds=("yaml", "pydantic"),
    ),
    "base_model": Step(
        "models",
        "The policy model before any training.",
        "models",
        settings=("models",),
        code=("models",),
        gate=False,
        kinds=("torch", "huggingface"),
    ),
    "judge_model": Step(
        "models",
        "What the evaluation's judge is tuned from: another backbone than the grader's.",
        "models",
        settings=("models",),
        code=("models",),
        gate=False,
        kinds=("torch", "huggingface"),
    ),
    "safety_prompts": Step(
        "data",
        "Safety prompts with their response types, split by family.",
        "data",
        needs=("rules",),
        sources=("data/source/safety_prompts",),
        rules=("policy",),
        settings=("prompts",),
        code=("data",),
    ),
    "gold_propositions": Step(
        "data",
        "Completions labelled with all propositions, split into train and held-out.",
        "data",
        needs=("rules",),
        sources=("data/source/gold",),
        rules=("names",),
        settings=("gold",),
        code=("data",),
    ),
    "helpful_preferences": Step(
        "data",
        "Helpful-only preference pairs, demonstrations and RL prompts, split by family.",
        "data",
        sources=(
            "data/source/helpful_preferences.jsonl",
            "data/source/helpful_prompts.jsonl",
            # The written answers, not safety_prompts: no response type matters here.
            "data/source/safety_prompts",
        ),
        settings=("prompts",),
        code=("data",),
    ),
    "grader": Step(
        "models",
        "The grader, fitted on gold train rows and composed completions with known propositions.",
        "grading",
        needs=("rules", "base_model", "gold_propositions", "safety_prompts"),
        rules=("names", "asked", "completions"),
        settings=("grader",),
        code=("grading", "comparisons/compose.py", "steps/tuning.py"),
        gate=False,
        kinds=("torch", "huggingface"),
    ),
    "grader_accuracy": Step(
        "data",
        "Accuracy of the grader per proposition on held-out gold, with intervals.",
        "grading",
        needs=("rules", "grader", "base_model", "gold_propositions"),
        rules=("propositions",),
        settings=("grader", "evaluation", "grade_noise"),
        code=("grading",),
    ),
    "synthetic_comparisons": Step(
        "data",
        "Completions made to order: each with a wanted label, confirmed by the grader.",
        "rewards",
        needs=("rules", "base_model", "grader", "safety_prompts"),
        rules=("names", "completions", "classes"),
        settings=("comparisons",),
        code=("comparisons",),
    ),
    "human_preferences": Step(
        "data",
        "SIMULATED human safety preferences: over-cautious annotators, by setting.",
        "data",
        needs=("synthetic_comparisons", "helpful_preferences"),
        settings=("human",),
        code=("data",),
    ),
    "helpful_reward_model": Step(
        "models",
        "Reward model of helpful-only preferences.",
        "rewards",
        needs=("base_model", "helpful_preferences"),
        settings=("reward_model",),
        code=("training/reward_model.py",),
        kinds=("torch", "trl"),
    ),
    "human_reward_model": Step(
        "models",
        "Reward model of helpful and simulated human safety preferences.",
        "rewards",
        needs=("base_model", "helpful_preferences", "human_preferences"),
        settings=("reward_model",),
        code=("training/reward_model.py",),
        kinds=("torch", "trl"),
    ),
    "graded_comparisons": Step(
        "data",
        "Features (proposition and class probabilities) and R_rm of every comparison.",
        "rewards",
        needs=("rules", "base_model", "grader", "synthetic_comparisons", "helpful_reward_model"),
        rules=("propositions", "classes", "features"),
        settings=("grader", "grade_noise"),
        code=("features.py", "classes.py", "grading"),
    ),
    "fitted_weights": Step(
        "data",
        "Weights of the rule-based reward, per response type.",
        "rewards",
        needs=("rules", "graded_comparisons"),
        rules=("features", "ranking", "signs"),
        settings=("weights",),
        code=("weights.py", "weight_checks.py", "weight_plots.py"),
        kinds=("python", "scipy"),
    ),
    "human_fitted_weights": Step(
        "data",
        "Weights of the rule-based reward on the human reward model, per response type.",
        "rewards",
        needs=("rules", "synthetic_comparisons", "graded_comparisons", "human_reward_model"),
        rules=("features", "ranking", "signs"),
        settings=("weights",),
        code=("weights.py", "weight_checks.py", "weight_plots.py", "steps/fitted_weights.py"),
        kinds=("torch", "scipy"),
    ),
    "sft_checkpoint": Step(
        "models",
        "Supervised fine-tuned model, per variant.",
        "training",
        needs=(
            "base_model",
            "safety_prompts",
            "helpful_preferences",
            "synthetic_comparisons",
            "human_preferences",
        ),
        settings=("sft",),
        code=("training/sft.py",),
        variants=True,
        only={
            "safety_prompts": RULED,
            "synthetic_comparisons": RULED,
            "human_preferences": ("human",),
        },
        kinds=("torch", "trl"),
    ),
    "ppo_checkpoint": Step(
        "models",
        "Policy after PPO against the variant's reward.",
        "training",
        needs=(
            "rules",
            "sft_checkpoint",
            "base_model",
            "grader",
            "safety_prompts",
            "helpful_preferences",
            "helpful_reward_model",
            "human_reward_model",
            "fitted_weights",
            "human_fitted_weights",
        ),
        rules=("propositions", "classes", "features"),
        settings=("rl", "grade_noise"),
        code=(
            "training/ppo.py",
            "training/actor_critic.py",
            "training/gae.py",
            "training/policy.py",
            "reward.py",
        ),
        variants=True,
        only={
            "rules": RULED,
            "base_model": RULED,
            "grader": RULED,
            "fitted_weights": ("rbr",),
            "human_fitted_weights": ("human_rbr",),
            "helpful_reward_model": ("helpful", "rbr"),
            "human_reward_model": ("human", "human_rbr"),
        },
        kinds=("torch", "trl"),
    ),
    "judge": Step(
        "models",
        "The evaluation's judge: own backbone, own fit, its accuracy on held-out gold beside it.",
        "evaluation",
        needs=("rules", "judge_model", "gold_propositions", "safety_prompts"),
        settings=("models", "judge"),
        rules=("names", "completions"),
        code=("evaluation/judge.py", "grading", "comparisons/compose.py", "steps/tuning.py"),
        kinds=("torch", "huggingface"),
    ),
    "baseline_eval": Step(
        "data",
        "Safety evaluation of the base model.",
        "evaluation",
        needs=("rules", "base_model", "judge", "judge_model", "safety_prompts"),
        rules=("names", "classes"),
        settings=("evaluation",),
        code=("evaluation",),
    ),
    "safety_eval": Step(
        "data",
        "Safety evaluation of a variant's SFT and PPO models.",
        "evaluation",
        needs=(
            "rules",
            "sft_checkpoint",
            "ppo_checkpoint",
            "judge",
            "judge_model",
            "safety_prompts",
        ),
        rules=("names", "classes"),
        settings=("evaluation",),
        code=("evaluation",),
        variants=True,
    ),
    "capability_eval": Step(
        "data",
        "Held-out loss and small factual and instruction items, beside the SFT and base models.",
        "evaluation",
        needs=("base_model", "sft_checkpoint", "ppo_checkpoint"),
        sources=("data/source/capability.jsonl", "data/source/capability_text.jsonl"),
        settings=("evaluation",),
        code=("evaluation",),
        variants=True,
    ),
    "model_release": Step(
        "data",
        "Model card and comparison table; the champion alias moves if every gate passed.",
        "release",
        needs=(
            "rules",
            "base_model",
            "baseline_eval",
            "safety_eval",
            "capability_eval",
            "ppo_checkpoint",
            "judge",
            "grader",
            # Nothing else reads it: its gate must stop a release.
            "grader_accuracy",
            "helpful_reward_model",
            "fitted_weights",
        ),
        settings=("gates", "grade_noise"),
        code=("release.py", "report", "reward.py"),
        kinds=("mlflow",),
    ),
}


def run_step(name: str, context: Context) -> dict[str, float]:
    """Run the step's function; returns its metrics (also written beside the artifact)."""
    run: Callable[[Context], dict[str, float]] = importlib.import_module(f"rbr.steps.{name}").run
    return run(context)
