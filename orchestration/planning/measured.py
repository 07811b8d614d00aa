"""What ``benchmarks/rates.py`` measured on a machine, and the machine that is planned for."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import Field, ValidationError

from rbr.errors import RBRError, first_problem
from orchestration.planning.shapes import Shape
from pipeline.profile import Section, read_yaml

Read = TypeVar("Read", bound=Section)


class Lengths(Section):
    """Mean tokens, by the policy's tokenizer and chat template.

    ``prompt`` of safety prompts, ``rl_prompt`` of those that RL takes; ``composed``, ``gold``, ``answer``
    of completions; ``demonstration`` and ``preference`` with their prompts; ``generated`` of what the
    base model answers, ``answered`` of what trained policies do, ``ordered`` of a prompt with instructions and examples, ``question`` of a
    proposition's grading prompt with its examples. ``judge`` is the judge's tokens for one of the
    policy's.
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
    ordered: float
    question: float
    capability: float
    judge: float


class Rates(Section):
    """Floating-point operations a second reached by each kind of work, by the formulas of ``work``.

    ``peak`` is a large matrix product's, at the numbers' precision.
    """

    peak: float = Field(gt=0)
    tune: float = Field(gt=0)
    read: float = Field(gt=0)
    generate: float = Field(gt=0)
    sft: float = Field(gt=0)
    reward_model: float = Field(gt=0)
    ppo: float = Field(gt=0)
    judge_tune: float = Field(gt=0)
    judge_read: float = Field(gt=0)
    capability: float = Field(gt=0)


class Overheads(Section):
    """Seconds that a step takes beside its work: any step; one with a model; one with a launch."""

    step: float = Field(ge=0)
    load: float = Field(ge=0)
    launch: float = Field(ge=0)


class Measured(Section):
    """One machine under one profile."""

    profile: str
    machine: str
    date: str
    attempts: float = Field(gt=0, description="of an order of comparisons, on average")
    grade_bytes: float = Field(gt=0, description="of one grade in the grade store")
    row_bytes: float = Field(gt=0, description="of a comparison, in all artifacts that hold it")
    lengths: Lengths
    rates: Rates
    overheads: Overheads


class Device(Section):
    """One accelerator, by its maker's data sheet."""

    name: str
    flops: float = Field(gt=0, description="dense, at the numbers' precision, a second")
    bandwidth: float = Field(gt=0, description="of its memory, bytes a second")
    memory: float = Field(gt=0, description="bytes")
    number_bytes: int = Field(2, gt=0)


class Wanted(Section):
    """A plan for another machine or amount than a profile's own: a file of ``deploy/plans``."""

    profile: str
    measured: str = Field(description="file of measured rates, beside this one")
    device: Device
    training_devices: int = Field(gt=0)
    grader_devices: int = Field(gt=0)
    # The profile's own amounts where they are None.
    prompts: int | None = Field(None, gt=0)
    completions_per_prompt: int | None = Field(None, gt=0)
    episodes: int | None = Field(None, gt=0)
    policy: Shape
    grader: Shape


def read_measured(path: Path) -> Measured:
    """Read a file that ``benchmarks/rates.py`` wrote; raises as ``read_wanted`` does."""
    return _read(path, Measured)


def read_wanted(path: Path) -> Wanted:
    """Read a plan.

    Raises:
        RBRError: naming the file and the key at fault.
    """
    return _read(path, Wanted)


def _read(path: Path, kind: type[Read]) -> Read:
    try:
        return kind.model_validate(read_yaml(path))
    except ValidationError as error:
        raise RBRError(first_problem(error), path) from error
