"""The reward that a variant is trained against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.rows import weights_digest
from pipeline.variants import MAIN, Variant
from rbr.data.turns import read_batch
from rbr.files import file_digest
from rbr.reward.pretrained import RewardParts
from rbr.reward.rule_based_reward import RuleBasedReward
from rbr.rules.compiled import load_compiled

if TYPE_CHECKING:
    from pipeline.context import Context
    from rbr.grading.base import Grader
    from rbr.grading.options import GraderOptions
    from rbr.training.reward_model import RewardModel


@dataclass(frozen=True)
class VariantReward:
    """R_rm, and with ``weights`` the rules; loaded at the first use, in the process that uses it.

    The grader is asked without the grade store: what a policy answers is new each time.

    Attributes:
        reward_model, weights, rules, grader, base_model: folders of artifacts.
        noise: share of grades that are turned round (an ablation).
    """

    reward_model: Path
    weights: Path | None
    rules: Path
    grader: Path
    base_model: Path
    grader_options: GraderOptions
    grader_servers: tuple[str, ...]
    noise: float
    seed: int

    @classmethod
    def of(cls, context: Context, variant: Variant | None = None) -> VariantReward:
        """The reward of a variant: of the context's own, or else of the main one."""
        variant = variant or context.artifact.variant or MAIN
        settings = context.settings
        return cls(
            reward_model=context.path(variant.reward_model),
            weights=context.path(variant.weights) if variant.weights else None,
            rules=context.path("rules"),
            grader=context.path("grader"),
            base_model=context.path("base_model"),
            grader_options=settings.grader,
            grader_servers=settings.scale.grader_servers,
            noise=settings.grade_noise,
            seed=settings.seed,
        )

    def parts(self) -> RewardParts:
        """What ``export_reward`` copies; for variants with weights alone."""
        assert self.weights is not None
        weights = self.weights / "weights.json"
        return RewardParts(
            self.rules,
            weights,
            self.grader,
            self.base_model,
            self.reward_model,
            self.grader_options,
        )

    @property
    def __name__(self) -> str:
        """What TRL names its metrics by."""
        return "rule_based_reward" if self.weights else "reward"

    def digests(self) -> dict[str, str]:
        """Digests of what the reward is made of, the grader left out."""
        found = {"reward_model": weights_digest(self.reward_model)}
        if self.weights:
            found["weights"] = file_digest(self.weights / "weights.json")
        return found

    @cached_property
    def rule_based(self) -> RuleBasedReward:
        """The fitted reward; for variants with weights alone."""
        from rbr.grading.ahead import AheadGrader
        from rbr.grading.load import make_grader
        from rbr.grading.noise import NoisyGrader

        assert self.weights is not None
        rules = load_compiled(self.rules)
        grader: Grader = make_grader(
            self.grader_options, rules, self.grader, self.base_model, self.grader_servers
        )
        if self.noise:
            grader = NoisyGrader(grader, self.noise, self.seed)
        if self.grader_options.on_server:
            grader = AheadGrader(grader)
        weights = self.weights / "weights.json"
        return RuleBasedReward.load(rules, weights, grader, self.model)

    @cached_property
    def model(self) -> RewardModel:
        """The reward model of R_rm."""
        from rbr.training.reward_model import RewardModel

        return RewardModel(self.reward_model)

    def prepare(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> None:
        """Announce answers of a rollout: a grader on a server begins with them; see ``AheadGrader``."""
        if self.weights and self.grader_options.on_server:
            self.rule_based.prepare(prompts, completions, **columns)

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
    ) -> list[float]:
        """Rewards of a batch, as TRL's trainers call for them."""
        if self.weights:
            return self.rule_based(prompts, completions, **columns)
        scores = self.model.score(*read_batch(prompts, completions)).tolist()
        if log_extra := columns.get("log_extra"):
            log_extra("reward_model", scores)
        return list(scores)
