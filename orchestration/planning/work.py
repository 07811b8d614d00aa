"""The work of each artifact: tokens, and floating-point operations by the usual count.

A matrix parameter costs 2 operations per token forward and 4 more backward where it is trained, 2
more where a gradient only passes through it (Kaplan et al. 2020, section 2.1). The products of
attention itself are left out: below two per cent at the lengths of chat answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from orchestration.planning.inputs import Lengths, Measured, Shape, Target
from orchestration.planning.rows import RowCounts
from pipeline.profile import Settings
from pipeline.variants import VARIANTS, Variant
from rbr.grading.options import ChatOptions, GraderOptions, TuningOptions

# Work of another machine's, whose tokens alone are counted: its model and speed are not this profile's.
SERVED = "served"


@dataclass(frozen=True)
class Work:
    """A part of the work of an artifact.

    Attributes:
        rate: field of ``Rates`` at whose speed it is done, or ``SERVED``.
        tokens: that go through the model, each as often as it does.
        decoding_passes: passes of decoding, each of which reads all weights.
    """

    artifact: str
    rate: str
    tokens: float
    operations: float
    decoding_passes: float = 0.0


def training_operations(
    shape: Shape, layers: int | None, trained: int | None, adapters: bool = False
) -> int:
    """Operations per token of training the upper ``trained`` of the lowest ``layers`` (None: all).

    Args:
        adapters: are trained in their place; their own few per cent are left out.
    """
    backward = 2 if adapters else 4
    return 2 * shape.layers(layers) + backward * min(shape.layers(layers), shape.layers(trained))


def seconds(work: Work, measured: Measured, target: Target | None) -> float:
    """How long a part of the work keeps one device busy.

    On the measured machine (one that waits for a server is not busy): operations over the measured rate. On another: at the share of its peak
    that the measured machine reached of its own, and decoding no faster than weights are read.
    """
    if work.rate == SERVED:
        return 0.0
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
    """Counts the work of a profile.

    Attributes:
        attempts: samples per requested comparison.
        served: whether a chat grader's machine is none of those that are planned for.
    """

    settings: Settings
    rows: RowCounts
    lengths: Lengths
    policy: Shape
    grader: Shape
    judge: Shape
    attempts: float
    served: bool = True

    def works(self) -> Iterator[Work]:
        """All parts of the work."""
        settings, rows, lengths = self.settings, self.rows, self.lengths
        gold, samples = lengths.gold - lengths.prompt, rows.requests * self.attempts
        if settings.grader.engine == "head":
            yield self._tuned("grader", "tune", settings.grader.tuning, self.grader, 1.0)
        if settings.judge.engine == "head":
            yield self._tuned(
                "judge", "judge_tune", settings.judge.tuning, self.judge, lengths.judge
            )
        calibration = round(settings.judge.tuning.validation_fraction * rows.gold["judge"])
        yield self._judged("judge", rows.gold["heldout"] + calibration, gold)
        yield self._graded("grader_accuracy", rows.gold["heldout"], gold)
        generation = settings.comparisons.max_new_tokens, settings.evaluation.batch_size
        artifact = "synthetic_comparisons"
        if settings.comparisons.chat:
            tokens = samples * (lengths.chat_request + lengths.generated)
            yield Work(artifact, SERVED, tokens, 0.0)
        else:
            yield self._generated(
                artifact, samples, lengths.request, lengths.generated, *generation
            )
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
        limit, batch = settings.demonstrations.max_new_tokens, settings.evaluation.batch_size
        for artifact, answers in rows.sampled.items():
            yield self._generated(
                artifact, answers, lengths.prompt, lengths.generated, limit, batch
            )
        artifact = "safety_demonstrations"
        refused = rows.refused * self.attempts
        yield self._generated(artifact, refused, lengths.request, lengths.answered, limit, batch)
        yield self._graded(artifact, rows.sampled[artifact] + refused, lengths.generated)
        for name in settings.variants:
            yield from self._policy(VARIANTS[name])
        yield from self._evaluated("baseline_eval", 1, lengths.generated)
        yield from self._attacked("base_attack_eval", 1, lengths.generated)
        yield self._capability("base_capability", 1)
        models = 1 + 2 * len(settings.variants)
        for name, chosen in settings.external_eval.items():
            # How many a set holds is seen when it is read: at most so many.
            yield from self._evaluated(
                f"external_eval/{name}", models, lengths.answered, chosen.prompts
            )

    def _policy(self, variant: Variant) -> Iterator[Work]:
        shape, rl, lengths = self.policy, self.settings.rl, self.lengths
        if variant.name in self.rows.demonstrations:
            tokens = self.rows.demonstrations[variant.name] * lengths.demonstration
            tokens *= self.settings.sft.epochs
            # A gradient passes through the frozen head.
            sft = self.settings.sft
            each = training_operations(shape, None, sft.trained_layers, sft.lora is not None)
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
        updates = 4 if rl.lora else 6
        operations += rl.epochs * (updates * tokens * trained + logits)
        yield Work(artifact, "ppo", (1 + rl.epochs) * tokens, operations)
        yield from self._evaluated(variant.key("safety_eval"), 2, lengths.answered)
        yield from self._attacked(variant.key("attack_eval"), 2, lengths.answered)
        yield self._capability(variant.key("capability_eval"), 2)

    def _capability(self, artifact: str, models: int) -> Work:
        tokens = models * self.rows.capability * self.lengths.capability
        each = 2 * (self.policy.layers() + self.policy.head)
        return Work(artifact, "capability", tokens, tokens * each)

    def _evaluated(
        self, artifact: str, models: int, answer: float, prompts: int | None = None
    ) -> Iterator[Work]:
        options, rows = self.settings.evaluation, models * (prompts or self.rows.evaluated)
        generation = options.max_new_tokens, options.batch_size
        yield self._generated(artifact, rows, self.lengths.prompt, answer, *generation)
        yield self._judged(artifact, rows, answer)
        # Fluency: the base model reads them.
        tokens = rows * (self.lengths.prompt + answer)
        operations = 2 * tokens * self.policy.layers() + 2 * rows * answer * self.policy.head
        yield Work(artifact, "read", tokens, operations)

    def _attacked(self, artifact: str, models: int, answer: float) -> Iterator[Work]:
        # The tokens of the frames are left out: decoding is most of the work.
        options, rows = self.settings.evaluation, models * self.rows.attacked
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
        return self._examined(artifact, "judge_read", self.settings.judge, rows, completion)

    def _graded(self, artifact: str, rows: float, completion: float) -> Work:
        return self._examined(artifact, "read", self.settings.grader, rows, completion)

    def _examined(
        self, artifact: str, rate: str, options: GraderOptions, rows: float, completion: float
    ) -> Work:
        """The grader or the judge reads rows: once by its heads, or with questions about propositions."""
        shape = self.grader if rate == "read" else self.judge
        tokens = rows * (self.lengths.prompt + completion)
        if options.engine == "head":
            tokens *= 1.0 if rate == "read" else self.lengths.judge
            return Work(artifact, rate, tokens, 2 * tokens * shape.layers(options.tuning.layers))
        questions = rows * self.rows.propositions
        if options.engine == "chat":
            # The rules come first, in the server's cache; what follows is read by each request.
            requests = rows * self.requests_of(options.chat)
            fresh = requests * (self.lengths.prompt + completion + self.lengths.chat_frame)
            asked = (
                questions if options.chat.style == "question" else requests * self.rows.propositions
            )
            tokens, operations = fresh + asked * self.lengths.question, 2 * fresh * shape.layers()
        else:
            # The answer is read once, its key/value cache shared by all questions.
            tokens += questions * self.lengths.question
            operations = 2 * (tokens * shape.layers() + questions * shape.head)
        if options.engine == "chat" and (self.served or rate != "read"):
            return Work(artifact, SERVED, tokens, 0.0)
        return Work(artifact, rate, tokens, operations)

    def requests_of(self, chat: ChatOptions) -> int:
        """Requests of a chat grader about one answer."""
        group = self.rows.propositions if chat.group == "all" else chat.group
        return -(-self.rows.propositions // group) * (1 if chat.logprobs else chat.samples)
