"""The files of ``deploy/plans``: rates that a machine reached, and machines to plan for."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from pipeline.profile import read_yaml, validated
from rbr.errors import RBRError
from rbr.options import Options

FileT = TypeVar("FileT", "Measured", "Target")


class Shape(Options, extra="ignore"):
    """A transformer's shape, in Transformers' names; other keys of a configuration are ignored."""

    hidden_size: PositiveInt
    intermediate_size: PositiveInt
    num_hidden_layers: PositiveInt
    num_attention_heads: PositiveInt
    num_key_value_heads: PositiveInt | None = None
    head_dim: PositiveInt | None = None
    vocab_size: PositiveInt
    tie_word_embeddings: bool = True
    hidden_act: str = "silu"

    def width(self, heads: int) -> int:
        return heads * (self.head_dim or self.hidden_size // self.num_attention_heads)

    @property
    def layer(self) -> int:
        """Parameters of one layer's matrices; norms and biases are below a thousandth of it."""
        heads = self.num_attention_heads
        attention = 2 * self.width(heads) + 2 * self.width(self.num_key_value_heads or heads)
        # A gated feed-forward network (SwiGLU) has three matrices, a plain one two.
        matrices = 3 if self.hidden_act == "silu" else 2
        return self.hidden_size * (attention + matrices * self.intermediate_size)

    def layers(self, count: int | None = None) -> int:
        """Parameters of at most ``count`` layers; of all by default."""
        total = self.num_hidden_layers
        return self.layer * (total if count is None else min(count, total))

    def adapters(self, rank: int, count: int | None = None) -> int:
        """Parameters of adapters of a rank on all matrices of the upper ``count`` layers."""
        heads = self.num_attention_heads
        widths = 2 * self.width(heads) + 2 * self.width(self.num_key_value_heads or heads)
        matrices = 3 if self.hidden_act == "silu" else 2
        ends = (
            widths + 4 * self.hidden_size + matrices * (self.hidden_size + self.intermediate_size)
        )
        return rank * ends * (self.layers(count) // self.layer)

    @property
    def head(self) -> int:
        """Parameters of the language-model head."""
        return self.hidden_size * self.vocab_size

    @property
    def parameters(self) -> int:
        """All parameters except norms and biases."""
        return self.layers() + (1 if self.tie_word_embeddings else 2) * self.head

    def cache_bytes(self, number_bytes: int) -> int:
        """Bytes of the key/value cache per token."""
        width = self.width(self.num_key_value_heads or self.num_attention_heads)
        return 2 * self.num_hidden_layers * width * number_bytes


class Lengths(Options):
    """Mean tokens, by the policy's tokenizer and chat template; ``judge``: the judge's per one of them.

    ``prompt`` of a safety prompt, ``rl_prompt`` of one that RL uses; ``composed``, ``generated`` (by
    the base model), ``answered`` (by a trained policy), ``rollout`` (in RL) of a completion; ``gold``,
    ``demonstration``, ``preference`` of both; ``request`` of a prompt with instructions and examples, ``chat_request`` of the same for a chat model;
    ``question`` of a proposition's grading prompt with its examples, ``chat_frame`` of what a chat grader's
    request has beside conversation and propositions.
    """

    prompt: float
    rl_prompt: float
    composed: float
    gold: float
    demonstration: float
    preference: float
    generated: float
    answered: float
    rollout: float
    request: float
    chat_request: float
    chat_frame: float
    question: float
    capability: float
    judge: float


class Rates(Options):
    """Floating-point operations per second of each kind of work, by the formulas of ``work``.

    ``peak`` is that of a large matrix product in the same precision.
    """

    peak: PositiveFloat
    tune: PositiveFloat
    read: PositiveFloat
    generate: PositiveFloat
    sft: PositiveFloat
    reward_model: PositiveFloat
    ppo: PositiveFloat
    judge_tune: PositiveFloat
    judge_read: PositiveFloat
    capability: PositiveFloat


class Overheads(Options):
    """Seconds beside the work: of any artifact, of loading a model, of launching a training."""

    artifact: NonNegativeFloat
    load: NonNegativeFloat
    launch: NonNegativeFloat


class Measured(Options):
    """One machine under one profile, as ``benchmarks/rates.py`` writes it."""

    profile: str
    machine: str
    date: str
    attempts: PositiveFloat = Field(description="samples per requested comparison")
    grade_bytes: PositiveFloat = Field(description="of one grade in the grade store")
    row_bytes: PositiveFloat = Field(description="of a comparison, in all artifacts that hold it")
    models: dict[str, Shape] = Field(description="by name")
    lengths: Lengths
    rates: Rates
    overheads: Overheads


class Device(Options):
    """One accelerator, by its maker's data sheet."""

    name: str
    flops: PositiveFloat = Field(description="dense, per second, in numbers of number_bytes")
    bandwidth: PositiveFloat = Field(description="of its memory, bytes per second")
    memory: PositiveFloat = Field(description="bytes")
    number_bytes: PositiveInt = 2


class Target(Options):
    """Another machine, and for what is not None other amounts than the profile's own."""

    profile: str
    measured: str = Field(description="file of measured rates, beside this one")
    device: Device
    training_devices: PositiveInt
    grader_devices: PositiveInt
    prompts: PositiveInt | None = None
    completions_per_prompt: PositiveInt = 4
    episodes: PositiveInt | None = None
    policy: Shape
    grader: Shape


def read_plan_file(path: Path, kind: type[FileT]) -> FileT:
    """Read a file of measured rates or of a target.

    Raises:
        RBRError: naming the file and the key at fault.
    """
    if kind is Measured and not path.is_file():
        # A project of `rbr init` has no benchmarks, but the rates of one machine.
        text = (
            "benchmarks/rates.py of a checkout writes them; or --measured deploy/plans/laptop.yaml"
        )
        raise RBRError(f"no measured rates: {text}", path)
    return validated(kind, read_yaml(path), path)
