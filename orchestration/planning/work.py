"""The work of each artifact: tokens, and floating-point operations by the usual count.

A matrix parameter costs 2 operations per token forward and 4 more backward where it is trained, 2
more where a gradient only passes through it (Kaplan et al. 2020, section 2.1). The products of
attention itself are left out: below two per cent at the lengths of chat answers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from orchestration.planning.inputs import Lengths, Measured, Shape, Target
from orchestration.planning.rows import RowCounts
from pipeline.profile import Settings
from pipeline.variants import VARIANTS, Variant
from rbr.grading.options import TuningOptions


@dataclass(frozen=True)
class Work:
    """A part of the work of an artifact.

    Attributes:
        rate: field of ``Rates`` at whose speed it is done.
        tokens: that go through the model, each as often as it does.
        decoding_passes: passes of decoding, each of which reads all weights.
    """

    artifact: str
    rate: str
    tokens: float
    operations: float
    decoding_passes: float = 0.0


def training_operations(shape: Shape, layers: int | None, trained: int | None) -> int:
    """Operations per token of training the upper ``trained`` of the lowest ``layers`` (None: all)."""
    return 2 * shape.layers(layers) + 4 * min(shape.layers(layers), shape.layers(trained))


def seconds(work: Work, measured: Measured, target: Target | None) -> float:
    """How long a part of the work keeps one device busy.

    On the measured machine: operations over the measured rate. On another: at the share of its peak
    that the measured machine reached of its own, and decoding no faster than weights are read.
    """
    rate = float(getattr(measured.rates, work.rate))
    if target is None:
        return work.operations / rate
    device = target.device
    time = work.operations / (device.flops * rate / measured.rates.peak)
    weights = target.policy.parameters * device.number_bytes
    return max(time, work.decoding_passes * weights / device.bandwidth)


def decoding_operations(shape: Shape, prompt: float, limit: int) -> float:
    """Operations of one answer: its batch decodes until the last one ends, nearly always at the limit."""
    return 2 * ((prompt + limit) * shape.layers() + limit * shape.head)


@dataclass(frozen=True)
class Workload:
    """Counts the work of a profile; ``attempts`` are samples per requested comparison."""

    settings: Settings
    rows: RowCounts
    lengths: Lengths
    policy: Shape
    grader: Shape
    judge: Shape
    attempts: float

    def works(self) -> Iterator[Work]:
        """All parts of the work."""
        settings, rows, lengths = self.settings, self.rows, self.lengths
        gold, samples = lengths.gold - lengths.prompt, rows.requests * self.attempts
        if settings.grader.engine == "head":
            yield self._tuned("grader", "tune", settings.grader.tuning, self.grader, 1.0)
        if settings.judge.engine == "head":
            tuning = settings.judge.tuning
            yield self._tuned("judge", "judge_tune", tuning, self.judge, lengths.judge)
        calibration = round(settings.judge.tuning.validation_fraction * rows.gold["judge"])
        yield self._judged("judge", rows.gold["heldout"] + calibration, gold)
        yield self._graded("grader_accuracy", rows.gold["heldout"], gold)
        generation = settings.comparisons.max_new_tokens, settings.evaluation.batch_size
        artifact = "synthetic_comparisons"
        yield self._generated(artifact, samples, lengths.request, lengths.generated, *generation)
        yield self._graded(artifact, rows.comparisons, lengths.composed)
        yield self._graded(artifact, samples, lengths.generated)
        # The grade store holds the grades by now: R_rm is left.
        for artifact in ("graded_comparisons", "human_fitted_weights"):
            yield self._rewarded(artifact, rows.comparisons, lengths.composed)
        options = settings.reward_model
        for artifact, pairs in rows.pairs.items():
            tokens = 2 * pairs * options.epochs * lengths.preference
            each = training_operations(self.policy, options.layers, options.trained_layers)
            yield Work(artifact, "reward_model", tokens, tokens * each)
        for name in settings.variants:
            yield from self._policy(VARIANTS[name])
        yield from self._evaluated("baseline_eval", 1, lengths.generated)

    def _policy(self, variant: Variant) -> Iterator[Work]:
        shape, rl, lengths = self.policy, self.settings.rl, self.lengths
        if variant.name in self.rows.demonstrations:
            tokens = self.rows.demonstrations[variant.name] * lengths.demonstration
            tokens *= self.settings.sft.epochs
            # A gradient passes through the frozen head.
            each = training_operations(shape, None, self.settings.sft.trained_layers)
            yield Work(
                variant.key("sft_checkpoint"), "sft", tokens, tokens * (each + 4 * shape.head)
            )
        artifact, rows, answer = variant.key("ppo_checkpoint"), self.rows.episodes, lengths.rollout
        generation = rl.max_new_tokens, rl.prompts_per_step
        yield self._generated(artifact, rows, lengths.rl_prompt, answer, *generation)
        yield self._rewarded(artifact, rows, answer)
        if variant.weights:
            yield self._graded(artifact, rows, answer)
        trained, tokens = shape.layers(rl.trained_layers), rows * (lengths.rl_prompt + answer)
        # A rollout's log-probabilities: the trunk, the upper layers of the policy and of the
        # reference, the logits of both; then each epoch's updates.
        logits = 4 * rows * answer * shape.head
        operations = 2 * tokens * (shape.layers() + trained) + logits
        operations += rl.epochs * (6 * tokens * trained + logits)
        yield Work(artifact, "ppo", (1 + rl.epochs) * tokens, operations)
        yield from self._evaluated(variant.key("safety_eval"), 2, lengths.answered)
        tokens = 3 * self.rows.capability * lengths.capability
        each = 2 * (shape.layers() + shape.head)
        yield Work(variant.key("capability_eval"), "capability", tokens, tokens * each)

    def _evaluated(self, artifact: str, models: int, answer: float) -> Iterator[Work]:
        options, rows = self.settings.evaluation, models * self.rows.evaluated
        generation = options.max_new_tokens, options.batch_size
        yield self._generated(artifact, rows, self.lengths.prompt, answer, *generation)
        yield self._judged(artifact, rows, answer)

    def _tuned(
        self, artifact: str, rate: str, tuning: TuningOptions, shape: Shape, ratio: float
    ) -> Work:
        """Heads are tuned; ``ratio``: the model's tokens per token of the policy's."""
        gold = self.rows.gold[artifact]
        gold -= round(tuning.validation_fraction * gold)
        tokens = gold * tuning.epochs * self.lengths.gold
        each: float = training_operations(shape, tuning.layers, tuning.trained_layers)
        if tuning.trained_layers:  # The frozen layers are run once a row.
            frozen = shape.layers(tuning.layers) - shape.layers(tuning.trained_layers)
            each -= 2 * frozen * (1 - 1 / tuning.epochs)
        return Work(artifact, rate, ratio * tokens, ratio * tokens * each)

    def _generated(
        self, artifact: str, rows: float, prompt: float, answer: float, limit: int, batch: int
    ) -> Work:
        each = decoding_operations(self.policy, prompt, limit)
        tokens, passes = rows * (prompt + answer), limit * rows / batch
        return Work(artifact, "generate", tokens, rows * each, passes)

    def _rewarded(self, artifact: str, rows: float, completion: float) -> Work:
        tokens = rows * (self.lengths.prompt + completion)
        layers = self.policy.layers(self.settings.reward_model.layers)
        return Work(artifact, "read", tokens, 2 * tokens * layers)

    def _judged(self, artifact: str, rows: float, completion: float) -> Work:
        if self.settings.judge.engine != "head":
            return Work(artifact, "judge_read", 0.0, 0.0)  # on a server of its own
        tokens = rows * (self.lengths.prompt + completion) * self.lengths.judge
        layers = self.judge.layers(self.settings.judge.tuning.layers)
        return Work(artifact, "judge_read", tokens, 2 * tokens * layers)

    def _graded(self, artifact: str, rows: float, completion: float) -> Work:
        """The grader reads rows: once by its heads, or with each proposition's question behind them."""
        options, shape = self.settings.grader, self.grader
        tokens = rows * (self.lengths.prompt + completion)
        if options.engine == "head":
            return Work(artifact, "read", tokens, 2 * tokens * shape.layers(options.tuning.layers))
        questions = rows * self.rows.propositions
        if options.engine == "chat" and options.chat.group != "all":
            # The rules come first and are cached; the answer is read by each request.
            tokens *= math.ceil(self.rows.propositions / options.chat.group)
        # Else it is read once, its key/value cache shared by all questions.
        tokens += questions * self.lengths.question
        return Work(
            artifact, "read", tokens, 2 * (tokens * shape.layers() + questions * shape.head)
        )
