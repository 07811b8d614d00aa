"""A task and a scorer for Inspect (``inspect eval rbr/safety --model ...``), with a project's judge and reward.

Needs the extra ``inspect``. The package's entry point registers them, so Inspect finds them by name.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageSystem, ChatMessageUser
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, metric, scorer
from inspect_ai.solver import TaskState, generate

from rbr.data.rows import Conversation, PolicyPrompt
from rbr.data.turns import read_conversation
from rbr.errors import DataError
from rbr.evaluation.judge import Judge
from rbr.evaluation.metrics import metrics_of, outcomes
from rbr.evaluation.safety import as_verdict
from rbr.reward.rule_based_reward import RuleBasedReward
from rbr.scorers.scorers import rationale
from rbr.scorers.shared import MODEL_LOCK, SharedGrader

MESSAGES: dict[str, Any] = {
    "system": ChatMessageSystem,
    "user": ChatMessageUser,
    "assistant": ChatMessageAssistant,
}


def load_project(root: str | None = None) -> tuple[Judge, RuleBasedReward]:
    """The judge and the fitted reward of a project.

    Raises:
        RBRError: naming the first artifact that is not made yet.
    """
    # Named, since a project's artifacts and settings are layers above the method.
    common, evaluate = (
        importlib.import_module(f"orchestration.cli.{n}") for n in ("common", "evaluate")
    )
    context = common.open_context(Path(root) if root else None)
    judge, _ = evaluate.open_judge(context, None, None)
    shared = SharedGrader.of(judge.grader, judge.rules)
    return Judge(shared, judge.rules), common.load_reward(context)


def load_prompts(root: str | None = None) -> list[PolicyPrompt]:
    """The held-out prompts that a project's evaluations use.

    Raises:
        RBRError: if they are not made yet.
    """
    rows, common = map(importlib.import_module, ("pipeline.rows", "orchestration.cli.common"))
    context = common.open_context(Path(root) if root else None)
    common.artifact(context, "safety_prompts")
    prompts: list[PolicyPrompt] = rows.evaluated_prompts(context)
    return prompts


def explain(
    judge: Judge, reward: RuleBasedReward, conversation: Conversation, completion: str, kind: str
) -> Score:
    """The score of one completion: what the judge finds, and the reward with its parts."""
    with MODEL_LOCK:
        [(verdict, true)] = judge.judge([conversation], [completion], [kind])
        [probabilities] = judge.grader.grade([conversation], [completion]).tolist()
        explanation = reward.explain(conversation, completion, kind)
    return Score(
        value={
            "reward": explanation.reward,
            "class": verdict.completion_class,
            "disallowed": verdict.disallowed,
            "refused": verdict.refused,
        },
        answer=completion,
        explanation=f"{verdict.completion_class}: {', '.join(true)}\n{rationale(explanation)}",
        metadata={
            "verdict": asdict(verdict),
            "propositions": dict(zip(judge.grader.propositions, probabilities, strict=True)),
            "reward_model": explanation.reward_model,
            "contributions": {n: term for n, (_, _, term) in explanation.contributions.items()},
        },
    )


def share(name: str, scores: Sequence[SampleScore]) -> float:
    """A metric of ``rbr.evaluation.metrics`` over the scores of all epochs; NaN without such prompts."""
    found: list[Mapping[str, Any]] = [score.score.metadata or {} for score in scores]
    if not found:
        return float("nan")
    sums = outcomes([as_verdict(metadata["verdict"]) for metadata in found])
    return float(metrics_of(sums.sum(0)[None])[name][0])


@metric(scores="unreduced")
def not_unsafe() -> Metric:
    """Share of unsafe prompts whose answer holds no disallowed content."""
    return partial(share, "not_unsafe")


@metric(scores="unreduced")
def not_overrefuse() -> Metric:
    """Share of the prompts to comply with that are answered."""
    return partial(share, "not_overrefuse")


@metric(scores="unreduced")
def f1_star() -> Metric:
    """Harmonic mean of Not-Unsafe and Not-Overrefuse."""
    return partial(share, "f1_star")


@metric(scores="unreduced")
def mean_reward() -> Metric:
    """Mean of R_tot."""

    def mean(scores: list[SampleScore]) -> float:
        rewards = [float(score.score.as_dict()["reward"] or 0.0) for score in scores]
        return sum(rewards) / len(rewards) if rewards else float("nan")

    return mean


@scorer(metrics=[f1_star(), not_unsafe(), not_overrefuse(), mean_reward()])
def rule_based(root: str | None = None) -> Scorer:
    """Scores answers by a project's rules: propositions, completion class and reward.

    A sample's metadata names its ``response_type``. What cannot be graded is an error of the sample, and
    never a score.

    Args:
        root: the project's folder; by default that of ``RBR_ROOT``, or the nearest at or above the
            current one.
    """
    loaded: list[tuple[Judge, RuleBasedReward]] = []

    def read(conversation: Conversation, completion: str, kind: str) -> Score:
        with MODEL_LOCK:
            if not loaded:
                loaded.append(load_project(root))
        return explain(*loaded[0], conversation, completion, kind)

    async def score(state: TaskState, target: Target) -> Score:
        kind = (state.metadata or {}).get("response_type")
        if not kind:
            raise DataError(f"sample {state.sample_id} has no response_type in its metadata")
        conversation = asked(state.messages)
        return await anyio.to_thread.run_sync(read, conversation, state.output.completion, kind)

    return score


def asked(messages: Sequence[ChatMessage]) -> Conversation:
    """The conversation up to the user's last turn, before the model's answer to it."""
    turns = [{"role": m.role, "content": m.text} for m in messages if m.role in MESSAGES]
    while turns and turns[-1]["role"] == "assistant":
        turns.pop()
    return read_conversation(turns, "messages")


@task
def safety(root: str | None = None) -> Task:
    """Held-out prompts of a project, to refuse and to comply with, scored by its rules.

    Args:
        root: the project's folder; by default that of ``RBR_ROOT``, or the nearest at or above the
            current one.
    """
    samples = [
        Sample(
            id=prompt.id,
            input=[MESSAGES[turn.role](content=turn.content) for turn in prompt.conversation],
            target=prompt.response_type,
            metadata={"response_type": prompt.response_type, "category": prompt.category},
        )
        for prompt in load_prompts(root)
    ]
    return Task(
        dataset=MemoryDataset(samples, name="held-out safety prompts"),
        solver=generate(),
        scorer=rule_based(root),
    )
