"""Seconds, device hours, memory and store of counted work."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orchestration.planning.amounts import Amounts
from orchestration.planning.measured import Measured, Wanted
from orchestration.planning.shapes import Shape
from orchestration.planning.work import Models, Work
from pipeline.profile import VARIANTS, Settings

LAUNCHED = ("sft_checkpoint", "ppo_checkpoint", "helpful_reward_model", "human_reward_model")
# Bytes of activations a token, layer and hidden unit, in 16 bits and without recomputation
# (Korthikanti et al. 2022, "Reducing Activation Recomputation", its equation 1 without attention scores).
ACTIVATIONS = 34
# Adam in mixed precision: weights, gradients (16 bits), master weights and two moments (32 bits) a number
# (Rajbhandari et al. 2020, "ZeRO", section 3.1).
ADAM_BYTES = 16


def seconds(work: Work, measured: Measured, wanted: Wanted | None, models: Models) -> float:
    """How long a part of a step keeps one device busy.

    On the measured machine: operations over the measured rate. On another: at the share of its peak
    that the measured machine reached of its own; decoding takes no less than reading the weights does.
    """
    rate = getattr(measured.rates, work.kind)
    if wanted is None:
        return float(work.operations / rate)
    share = rate / measured.rates.peak
    time = work.operations / (wanted.device.flops * share)
    weights = models.policy.parameters * wanted.device.number_bytes
    return float(max(time, work.passes * weights / wanted.device.bandwidth))


@dataclass(frozen=True)
class Line:
    """One step: ``tokens``, ``busy`` device seconds and ``overhead`` in seconds."""

    step: str
    tokens: float
    operations: float
    busy: float
    overhead: float

    @property
    def seconds(self) -> float:
        """Busy and overhead together."""
        return self.busy + self.overhead


def lines(
    parts: Iterable[Work],
    measured: Measured,
    wanted: Wanted | None,
    models: Models,
    steps: Iterable[str],
) -> list[Line]:
    """One line a step of the graph, in its order; steps without counted work have their overhead."""
    by_step: dict[str, list[Work]] = {}
    for part in parts:
        by_step.setdefault(part.step, []).append(part)
    result = []
    for step in steps:
        own = by_step.get(step, [])
        extra = measured.overheads.step
        if own:
            extra += measured.overheads.load
        if step.partition("@")[0] in LAUNCHED:
            extra += measured.overheads.launch
        result.append(
            Line(
                step,
                sum(part.tokens for part in own),
                sum(part.operations for part in own),
                sum(seconds(part, measured, wanted, models) for part in own),
                extra,
            )
        )
    return result


@dataclass(frozen=True)
class Memory:
    """Bytes on one device."""

    what: str
    parts: dict[str, float]

    @property
    def total(self) -> float:
        return sum(self.parts.values())


def memory(settings: Settings, wanted: Wanted) -> list[Memory]:
    """Memory of a training device and of a grader device, everything shared out evenly (FSDP, tensor
    parallel)."""
    policy, grader, number = wanted.policy, wanted.grader, wanted.device.number_bytes
    options, spread = settings.rl, wanted.training_devices
    trained = min(options.trained_layers, policy.num_hidden_layers) * policy.layer
    frozen = policy.parameters - trained
    reward_model = min(settings.reward_model.layers, policy.num_hidden_layers) * policy.layer
    tokens = (options.prompts_per_step // options.mini_batches) * (
        options.max_prompt_tokens + options.max_new_tokens
    )
    answered = (
        tokens * options.max_new_tokens / (options.max_prompt_tokens + options.max_new_tokens)
    )
    layers = min(options.trained_layers, policy.num_hidden_layers)
    training = Memory(
        f"training, each of {spread}",
        {
            "trained layers, Adam": ADAM_BYTES * trained / spread,
            "frozen layers": number * frozen / spread,
            "reference's upper layers": number * trained / spread,
            "reward model": number * reward_model / spread,
            "activations": ACTIVATIONS * tokens * layers * policy.hidden_size / spread,
            # Policy's in 32 bits, and their gradient.
            "logits": 8 * answered * policy.vocab_size / spread,
        },
    )
    context = settings.grader.concurrency * (
        options.max_prompt_tokens + options.max_new_tokens + 512
    )
    grading = Memory(
        f"grader, each of {wanted.grader_devices}",
        {
            "weights": number * grader.parameters / wanted.grader_devices,
            "key/value cache": context * grader.cache_bytes(number) / wanted.grader_devices,
        },
    )
    return [training, grading]


def store(
    settings: Settings, amounts: Amounts, measured: Measured, shape: Shape, number: int
) -> dict[str, float]:
    """Bytes of the artifacts and of the grade store after one run, without DVC's second copies."""
    graded = amounts.comparisons + amounts.ordered * measured.attempts
    policy = shape.parameters * number
    reward_model = min(settings.reward_model.layers, shape.num_hidden_layers) * shape.layer
    return {
        "policies (base, SFT and PPO of each variant)": (1 + 2 * len(VARIANTS)) * policy,
        "reward models": 2 * number * (reward_model + shape.head),
        "comparisons and their features": graded * measured.row_bytes,
        "grade store": (graded + amounts.gold_heldout)
        * amounts.propositions
        * measured.grade_bytes,
    }
