"""The work of each step: tokens, and floating-point operations by the usual count.

A matrix parameter costs 2 operations a token forward and 4 more backward where it is trained, 2 more
where a gradient only passes through it (Kaplan et al. 2020, section 2.1). Attention's own products are
left out: below two in a hundred at the lengths that chat answers have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from orchestration.planning.amounts import Amounts
from orchestration.planning.measured import Lengths
from orchestration.planning.shapes import Shape
from pipeline.profile import RULED, VARIANTS, Settings, Tuning

Kind = Literal[
    "tune",
    "read",
    "generate",
    "sft",
    "reward_model",
    "ppo",
    "judge_tune",
    "judge_read",
    "capability",
]


@dataclass(frozen=True)
class Work:
    """A part of a step.

    Attributes:
        kind: what it is done at the rate of.
        tokens: that go through the model, each as often as it does.
        operations: floating-point operations.
        passes: of decoding, each reading all weights; 0 where none is.
        grader: whether the grader's devices do it.
    """

    step: str
    kind: Kind
    tokens: float
    operations: float
    passes: float = 0.0
    grader: bool = False


@dataclass(frozen=True)
class Models:
    """Shapes of the policy, of what the grader is, and of the judge's backbone."""

    policy: Shape
    grader: Shape
    judge: Shape


def tuned(options: Tuning, shape: Shape) -> float:
    """Operations a token of tuning a backbone's first layers, the upper ones of them trained."""
    layers = min(options.layers, shape.num_hidden_layers)
    trained = layers if options.trained_layers is None else min(options.trained_layers, layers)
    return shape.layer * (2 * layers + 4 * trained)


class Count:
    """Counts the work of one profile."""

    def __init__(
        self,
        settings: Settings,
        amounts: Amounts,
        lengths: Lengths,
        models: Models,
        attempts: float,
    ) -> None:
        self.settings = settings
        self.amounts = amounts
        self.lengths = lengths
        self.models = models
        self.attempts = attempts

    def steps(self) -> list[Work]:
        """All parts, in the graph's order."""
        return [
            *self._grading(),
            *self._comparisons(),
            *self._reward_models(),
            *(part for variant in VARIANTS for part in self._variant(variant)),
            *self._evaluation("baseline_eval", 1),
        ]

    # -- what a model does with tokens ---------------------------------------------------------------

    def _graded(self, step: str, rows: float, completion: float) -> Work:
        """The grader reads rows: once by its heads, or with each proposition's question behind them."""
        settings, shape = self.settings.grader, self.models.grader
        tokens = rows * (self.lengths.prompt + completion)
        if settings.engine == "head":
            layers = min(settings.tuning.layers, shape.num_hidden_layers)
            return Work(step, "read", tokens, 2 * tokens * layers * shape.layer, grader=True)
        # The answer is read once, its key/value cache shared by all questions.
        tokens += rows * self.amounts.propositions * self.lengths.question
        operations = 2 * tokens * shape.num_hidden_layers * shape.layer
        operations += 2 * rows * self.amounts.propositions * shape.head
        return Work(step, "read", tokens, operations, grader=True)

    def _rewarded(self, step: str, rows: float, completion: float) -> Work:
        shape = self.models.policy
        layers = min(self.settings.reward_model.layers, shape.num_hidden_layers)
        tokens = rows * (self.lengths.prompt + completion)
        return Work(step, "read", tokens, 2 * tokens * layers * shape.layer)

    def _generated(
        self, step: str, rows: float, prompt: float, kept: float, limit: int, batch: int
    ) -> Work:
        """A batch goes on until its last answer ends: nearly always at the limit."""
        shape = self.models.policy
        each = shape.num_hidden_layers * shape.layer
        operations = 2 * rows * ((prompt + limit) * each + limit * shape.head)
        return Work(step, "generate", rows * (prompt + kept), operations, limit * rows / batch)

    def _judged(self, step: str, rows: float, completion: float) -> Work:
        shape, options = self.models.judge, self.settings.judge.tuning
        tokens = rows * (self.lengths.prompt + completion) * self.lengths.judge
        layers = min(options.layers, shape.num_hidden_layers)
        return Work(step, "judge_read", tokens, 2 * tokens * layers * shape.layer)

    # -- steps ---------------------------------------------------------------------------------------

    def _grading(self) -> Iterator[Work]:
        own, lengths = self.amounts, self.lengths
        gold, composed = lengths.gold, lengths.prompt + lengths.composed
        if self.settings.grader.engine == "head":
            shape, options = self.models.grader, self.settings.grader.tuning
            tokens = own.gold_seen * gold + own.composed_seen * composed
            yield Work("grader", "tune", tokens, tokens * tuned(options, shape), grader=True)
        shape, options = self.models.judge, self.settings.judge.tuning
        tokens = own.judge_gold_seen * gold + own.judge_composed_seen * composed
        tokens *= lengths.judge
        yield Work("judge", "judge_tune", tokens, tokens * tuned(options, shape))
        yield self._judged("judge", own.gold_heldout + own.gold_kept, gold - lengths.prompt)
        yield self._graded("grader_accuracy", own.gold_heldout, gold - lengths.prompt)

    def _comparisons(self) -> Iterator[Work]:
        own, lengths, settings = self.amounts, self.lengths, self.settings.comparisons
        asked = own.ordered * self.attempts
        yield self._generated(
            "synthetic_comparisons",
            asked,
            lengths.ordered,
            lengths.generated,
            settings.max_new_tokens,
            self.settings.evaluation.batch_size,
        )
        yield self._graded("synthetic_comparisons", own.comparisons, lengths.composed)
        yield self._graded("synthetic_comparisons", asked, lengths.generated)
        # The grades are in the store by now: what is left is R_rm.
        yield self._rewarded("graded_comparisons", own.comparisons, lengths.composed)
        yield self._rewarded("human_fitted_weights", own.comparisons, lengths.composed)

    def _reward_models(self) -> Iterator[Work]:
        shape, options = self.models.policy, self.settings.reward_model
        layers = min(options.layers, shape.num_hidden_layers)
        trained = min(options.trained_layers, layers)
        for step, pairs in (
            ("helpful_reward_model", self.amounts.pairs),
            ("human_reward_model", self.amounts.human_pairs),
        ):
            tokens = 2 * pairs * options.epochs * self.lengths.preference
            each = shape.layer * (2 * layers + 4 * trained)
            yield Work(step, "reward_model", tokens, tokens * each)

    def _variant(self, variant: str) -> Iterator[Work]:
        if variant in self.amounts.demonstrations:
            yield self._sft(variant)
        yield from self._ppo(variant)
        yield from self._evaluation(f"safety_eval@{variant}", 2)
        shape = self.models.policy
        tokens = 3 * self.amounts.capability * self.lengths.capability
        each = 2 * (shape.num_hidden_layers * shape.layer + shape.head)
        yield Work(f"capability_eval@{variant}", "capability", tokens, tokens * each)

    def _sft(self, variant: str) -> Work:
        shape, options = self.models.policy, self.settings.sft
        trained = min(options.trained_layers, shape.num_hidden_layers)
        tokens = self.amounts.demonstrations[variant] * options.epochs * self.lengths.demonstration
        # Through the frozen head a gradient passes.
        each = shape.layer * (2 * shape.num_hidden_layers + 4 * trained) + 4 * shape.head
        return Work(f"sft_checkpoint@{variant}", "sft", tokens, tokens * each)

    def _ppo(self, variant: str) -> Iterator[Work]:
        shape, options, own = self.models.policy, self.settings.rl, self.lengths
        step, rows = f"ppo_checkpoint@{variant}", self.amounts.episodes
        yield self._generated(
            step, rows, own.rl_prompt, own.rollout, options.max_new_tokens, options.prompts_per_step
        )
        yield self._rewarded(step, rows, own.rollout)
        if variant in RULED:
            yield self._graded(step, rows, own.rollout)
        trained = min(options.trained_layers, shape.num_hidden_layers)
        tokens, answered = rows * (own.rl_prompt + own.rollout), rows * own.rollout
        # A look: trunk, policy and reference, and both's logits of the answer; then the updates.
        looked = tokens * 2 * shape.layer * (shape.num_hidden_layers + trained)
        looked += answered * 4 * shape.head
        updated = tokens * 6 * shape.layer * trained + answered * 4 * shape.head
        yield Work(step, "ppo", (1 + options.epochs) * tokens, looked + options.epochs * updated)

    def _evaluation(self, step: str, models: int) -> Iterator[Work]:
        options, rows = self.settings.evaluation, models * self.amounts.evaluated
        kept = self.lengths.generated if step == "baseline_eval" else self.lengths.answered
        yield self._generated(
            step,
            rows,
            self.lengths.prompt,
            kept,
            options.max_new_tokens,
            options.batch_size,
        )
        yield self._judged(step, rows, kept)
