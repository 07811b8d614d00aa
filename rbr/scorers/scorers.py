"""Scorers for ``mlflow.genai.evaluate``: one a proposition, and one of the reward."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mlflow.entities import AssessmentSource, Feedback, Trace
from mlflow.genai.scorers import Scorer
from pydantic import PrivateAttr

from rbr.errors import RBRError, RuleError
from rbr.grading.base import Grader
from rbr.reward.rule_based_reward import Explanation, RuleBasedReward
from rbr.rules.yaml import suggest
from rbr.scorers.rows import read_response_type, read_row
from rbr.scorers.shared import MODEL_LOCK, SharedGrader

if TYPE_CHECKING:
    from rbr.rules.rules import Rules


class PropositionScorer(Scorer):
    """How probable a proposition is of a row's completion; made by ``proposition_scorers``.

    Attributes:
        text: the proposition's question and definition.
        grader: identity of what grades it; in MLflow's digest of the scorer, too.
        threshold: None for the probability; else the value is whether it is at least this.
    """

    text: str
    grader: str
    threshold: float | None = None
    _grader: SharedGrader = PrivateAttr()

    def __call__(
        self, *, inputs: Any = None, outputs: Any = None, trace: Trace | None = None
    ) -> Feedback:
        """The feedback: a probability (a bool, with a threshold), or an error and no value."""
        source = AssessmentSource(source_type="LLM_JUDGE", source_id=self.grader)
        try:
            conversation, completion = read_row(inputs, outputs, trace)
            # All propositions: one call grades the row for all its scorers.
            graded = self._grader.grade_with_reasons([conversation], [completion])
        except RBRError as error:
            return Feedback(name=self.name, error=error, source=source)
        p = float(graded.probabilities[0, self._grader.propositions.index(self.name)])
        reason = graded.reasons_of(0, self._grader.propositions).get(self.name)
        said = f"P = {p:.3f}: {self.text}"
        return Feedback(
            name=self.name,
            value=p if self.threshold is None else p >= self.threshold,
            rationale=f"{said}\n{reason}" if reason else said,
            # Exact, since MLflow keeps metadata as text.
            metadata={
                "proposition": self.name,
                "probability": repr(p),
                **({"reason": reason} if reason else {}),
            },
            source=source,
        )


class RewardScorer(Scorer):
    """R_tot of a row's completion and what it is made of; made by ``reward_scorer``.

    Attributes:
        response_type_key: where the expectations or the trace's tags hold the response type.
    """

    response_type_key: str
    _reward: RuleBasedReward = PrivateAttr()

    def __call__(
        self,
        *,
        inputs: Any = None,
        outputs: Any = None,
        expectations: Any = None,
        trace: Trace | None = None,
    ) -> Feedback:
        """The feedback: R_tot, with its parts in the metadata; or an error and no value."""
        try:
            conversation, completion = read_row(inputs, outputs, trace)
            response_type = read_response_type(
                expectations, trace, self.response_type_key, self._reward.rules.response_types
            )
            with MODEL_LOCK:
                explanation = self._reward.explain(conversation, completion, response_type)
        except RBRError as error:
            return Feedback(name=self.name, error=error)
        return Feedback(
            name=self.name,
            value=explanation.reward,
            rationale=rationale(explanation),
            metadata={
                "response_type": response_type,
                "reward_model": repr(explanation.reward_model),
                "contributions": json.dumps(explanation.contributions),
                **({"reasons": json.dumps(explanation.reasons)} if explanation.reasons else {}),
            },
        )


def rationale(explanation: Explanation) -> str:
    """An explanation as lines of text, the largest contributions first."""
    lines = [
        f"R_tot = {explanation.reward:+.3f} as {explanation.response_type}",
        f"{explanation.reward_model:+.3f} R_rm",
    ]
    lines += [
        f"{contribution:+.3f} {name} ({value:.2f} × {weight:+.2f})"
        for name, (value, weight, contribution) in explanation.ordered()
    ]
    return "\n".join(lines)


def proposition_scorers(
    grader: Grader,
    rules: Rules,
    names: Sequence[str] | None = None,
    threshold: float | None = None,
) -> list[PropositionScorer]:
    """One scorer a proposition; a row is graded once for all of them.

    Args:
        grader: of the propositions. Where it is the ``SharedGrader`` that the reward has, a row is
            graded once for the reward too.
        names: propositions; all of the rules by default.
        threshold: in [0, 1]; the values are then whether the probability is at least this.

    Raises:
        RuleError: on a name that the rules or the grader do not know.
        ValueError: on a threshold outside [0, 1].
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise ValueError(f"threshold is {threshold}: a probability from 0 to 1")
    shared = SharedGrader.of(grader, rules)
    scorers = []
    for name in rules.proposition_names if names is None else names:
        if name not in rules.propositions:
            raise RuleError(f"no proposition '{name}'; {suggest(name, rules.propositions)}")
        if name not in grader.propositions:
            raise RuleError(f"the grader does not know the proposition '{name}': fit it again")
        rule = rules.propositions[name]
        scorer = PropositionScorer(
            name=name,
            description=rule.question,
            # No limit: graders have their own, and a scorer also waits for other rows' turns.
            timeout=0,
            text=f"{rule.question} {rule.definition}",
            grader=shared.identity(name),
            threshold=threshold,
        )
        scorer._grader = shared
        scorers.append(scorer)
    return scorers


def reward_scorer(
    reward: RuleBasedReward, response_type_key: str = "response_type"
) -> RewardScorer:
    """The scorer of R_tot, named as the reward is in training.

    A row without a response type is an error here, not R_rm alone: in traces it is more often
    forgotten than intended.

    Args:
        reward: made with a ``SharedGrader`` it shares grades with the other scorers of that grader.
        response_type_key: where the expectations or the trace's tags hold the response type.
    """
    shared = copy.copy(reward)
    shared.grader = SharedGrader.of(reward.grader, reward.rules)
    scorer = RewardScorer(
        name=reward.__name__,
        description="The reward model's score plus the weighted rules.",
        timeout=0,
        response_type_key=response_type_key,
    )
    scorer._reward = shared
    return scorer
