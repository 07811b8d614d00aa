"""The rule-based reward: R_tot = R_rm + sum_i w_i phi_i (section 4 of the paper).

Called as TRL's reward functions are, so ``GRPOTrainer(reward_funcs=[reward])`` works; the dataset's
column ``response_type`` says which weights apply, and prompts without one get R_rm alone.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from pydantic import BaseModel, FiniteFloat, ValidationError

from rbr.data.rows import Conversation
from rbr.data.turns import read_batch
from rbr.errors import DataError, first_problem
from rbr.files import digest_of, read_json
from rbr.grading.ahead import AheadGrader
from rbr.grading.base import Graded, Grader, graded_with_reasons, usage_metrics
from rbr.reward.features import Array, features
from rbr.reward.parts import sample_columns

if TYPE_CHECKING:
    from rbr.rules.rules import Rules


class Scorer(Protocol):
    """A reward model: one score per completion."""

    def score(self, conversations: Sequence[Conversation], completions: Sequence[str]) -> Array:
        """Scores of shape (n,)."""
        ...


@dataclass(frozen=True)
class Explanation:
    """Why a completion has its reward.

    ``reward == reward_model + math.fsum(third items of contributions)``: bit for bit, in any order.

    Attributes:
        reward_model: R_rm.
        contributions: feature -> (value, weight, value * weight).
        reward: R_tot, as training sees it.
        unread_tokens: tokens of a long conversation or answer that the reward model does not read.
        reasons: proposition -> why it has its grade, of graders that give reasons.
    """

    response_type: str | None
    reward_model: float
    contributions: dict[str, tuple[float, float, float]]
    reward: float
    unread_tokens: int = 0
    reasons: dict[str, str] = field(default_factory=dict)

    def ordered(self) -> list[tuple[str, tuple[float, float, float]]]:
        """The contributions, the largest in size first."""
        return sorted(self.contributions.items(), key=lambda item: -abs(item[1][2]))


def row_sums(terms: Array) -> Array:
    """Sums of the rows of ``terms``, (n, F) -> (n,), each rounded once.

    A matrix product rounds on the way, differently per batch size; these sums depend neither on the
    batch nor on the order of the terms, so an explanation is to the bit the reward of the training.
    """
    return np.array([math.fsum(row) for row in terms])


class _Fitted(BaseModel):
    """What is read of ``weights.json``; ``rules`` is their ``fitted_to``."""

    weights: dict[str, dict[str, FiniteFloat]]
    rules: str | None = None
    reward_model: bool = True


def fitted_to(rules: Rules) -> str:
    """A digest of what weights are fitted to: the features with their meaning, ranks and signs."""
    sections = rules.sections()
    parts = [sections[name] for name in ("classes", "features", "ranking", "signs")]
    return digest_of(rules.grading_texts(), *parts)


class RuleBasedReward:
    """R_tot and its components.

    Args:
        weights: response type -> feature -> weight.
        grader: grades the propositions.
        reward_model: scores R_rm; None leaves it out.
        on_safety_prompts: whether R_rm counts where there is a response type.
    """

    __name__ = "rule_based_reward"

    def __init__(
        self,
        rules: Rules,
        weights: dict[str, dict[str, float]],
        grader: Grader,
        reward_model: Scorer | None = None,
        on_safety_prompts: bool = True,
    ) -> None:
        self.rules = rules
        self.grader = grader
        self.reward_model = reward_model
        self.on_safety_prompts = on_safety_prompts
        self._used: dict[str, float] = {}  # what the grader's requests took by the last call
        self._vectors: dict[str, Array] = {}
        for response_type, by_name in weights.items():
            names = rules.feature_names(response_type)
            if set(names) != set(by_name):
                different = ", ".join(sorted(set(names) ^ set(by_name)))
                raise DataError(
                    f"the weights of {response_type} do not fit the rules (differ in: {different}): fit them"
                    " again"
                )
            self._vectors[response_type] = np.array([by_name[name] for name in names])

    @classmethod
    def load(
        cls, rules: Rules, weights_file: Path, grader: Grader, reward_model: Scorer | None = None
    ) -> RuleBasedReward:
        """Read the weights, and whether they were fitted beside R_rm, from ``weights.json``.

        Raises:
            DataError: if they are not numbers, or were fitted to other rules.
        """
        try:
            fitted = _Fitted.model_validate(read_json(weights_file))
        except ValidationError as error:
            message = f"not fitted weights ({first_problem(error)}): fit them again"
            raise DataError(message, weights_file) from error
        if fitted.rules not in (None, fitted_to(rules)):
            raise DataError(
                "these weights were fitted to other rules: fit them again (materialize"
                f" '{weights_file.parent.name}', or `make demo`)",
                weights_file,
            )
        return cls(rules, fitted.weights, grader, reward_model, fitted.reward_model)

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> RuleBasedReward:
        """The reward that ``rbr reward export`` wrote into a folder, with its grader and R_rm.

        Raises:
            RBRError: naming what is missing, or does not fit the rest.
        """
        from rbr.reward.pretrained import load_reward

        return load_reward(Path(folder))

    @classmethod
    def from_project(cls, root: Path | str = ".") -> RuleBasedReward:
        """The fitted reward of a project, from its artifacts.

        Raises:
            RBRError: naming the first artifact that is not made yet.
        """
        # Named, since a project's artifacts and settings are layers above the method.
        project = importlib.import_module("orchestration.cli.common")
        reward: RuleBasedReward = project.load_reward(project.open_context(Path(root)))
        return reward

    def _terms(self, probabilities: Array, response_type: str) -> tuple[Array, Array]:
        """Features phi and the terms w_i phi_i of completions of one response type, (n, F) each."""
        phi = features(probabilities, self.grader.propositions, self.rules, response_type)
        return phi, phi * self._vectors[response_type]

    def components(
        self,
        conversations: Sequence[Conversation],
        completions: Sequence[str],
        response_types: Sequence[str | None],
    ) -> tuple[Array, Array, Array]:
        """R_rm, the rule-based term, and the proposition probabilities.

        Returns:
            Arrays of shape (n,), (n,) and (n, propositions); probabilities are NaN where there is no
            response type.

        Raises:
            DataError: on a response type that has no weights.
        """
        base, rule_based, graded = self._components(conversations, completions, response_types)
        return base, rule_based, graded.probabilities

    def _components(
        self,
        conversations: Sequence[Conversation],
        completions: Sequence[str],
        response_types: Sequence[str | None],
    ) -> tuple[Array, Array, Graded]:
        """See ``components``; the grades with their reasons."""
        n = len(completions)
        base = (
            self.reward_model.score(conversations, completions)
            if self.reward_model
            else np.zeros(n)
        )
        rule_based = np.zeros(n)
        probabilities = np.full((n, len(self.grader.propositions)), np.nan)
        ruled = [i for i, response_type in enumerate(response_types) if response_type]
        if not self.on_safety_prompts:
            base = base.copy()
            base[ruled] = 0.0
        unknown = {str(response_types[i]) for i in ruled} - set(self._vectors)
        if unknown:
            raise DataError(
                f"no weights for response types {sorted(unknown)}; there are: {sorted(self._vectors)}"
            )
        reasons = [[""] * len(self.grader.propositions) for _ in range(n)]
        if ruled:
            graded = graded_with_reasons(
                self.grader, [conversations[i] for i in ruled], [completions[i] for i in ruled]
            )
            probabilities[ruled] = graded.probabilities
            for i, said in zip(ruled, graded.reasons, strict=True):
                reasons[i] = list(said)
        for response_type in self._vectors:
            rows = [i for i in ruled if response_types[i] == response_type]
            if rows:
                rule_based[rows] = row_sums(self._terms(probabilities[rows], response_type)[1])
        return base, rule_based, Graded(probabilities, reasons)

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        response_type: Sequence[str | None] | None = None,
        **columns: Any,
    ) -> list[float]:
        """Rewards of a batch, by the signature of TRL's reward functions.

        Raises:
            DataError: naming the row without an answer to score, see ``rbr.data.turns``.
        """
        conversations, texts = read_batch(prompts, completions)
        kinds = [None] * len(texts) if response_type is None else response_type
        base, rule_based, probabilities = self.components(conversations, texts, kinds)
        log_extra, log_metric = columns.get("log_extra"), columns.get("log_metric")
        if log_extra is not None:
            logged = sample_columns(self.rules, self._terms, base, probabilities, kinds)
            for name, values in logged.items():
                log_extra(name, values)
        if log_metric is not None:
            log_metric("reward/reward_model", float(base.mean()))
            log_metric("reward/rule_based", float(rule_based.mean()))
            log_metric("reward/unread_tokens", float(np.mean(self._unread(conversations, texts))))
            used = usage_metrics(self.grader)
            for name, value in used.items():
                log_metric(f"reward/{name}", value - self._used.get(name, 0.0))
            self._used = used
            if not np.isnan(probabilities).all():
                means = np.nanmean(probabilities, axis=0)
                for name, value in zip(self.grader.propositions, means, strict=True):
                    log_metric(f"proposition/{name}", float(value))
        return [float(value) for value in base + rule_based]

    def prepare(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        response_type: Sequence[str | None] | None = None,
        **columns: Any,
    ) -> None:
        """Announce answers whose rewards will be asked for, where the grader can begin with them."""
        if isinstance(self.grader, AheadGrader) and response_type:
            pairs = zip(*read_batch(prompts, completions), response_type, strict=True)
            for conversation, text, kind in pairs:
                if kind:
                    self.grader.prepare(conversation, text)

    def explain(
        self, conversation: Conversation, completion: str, response_type: str | None
    ) -> Explanation:
        """The contribution of each feature: (value, weight, value * weight)."""
        base, rule_based, graded = self._components([conversation], [completion], [response_type])
        contributions: dict[str, tuple[float, float, float]] = {}
        if response_type:
            phi, terms = self._terms(graded.probabilities, response_type)
            columns = (phi[0].tolist(), self._vectors[response_type].tolist(), terms[0].tolist())
            names = self.rules.feature_names(response_type)
            contributions = dict(zip(names, zip(*columns, strict=True), strict=True))
        return Explanation(
            response_type,
            float(base[0]),
            contributions,
            float(base[0] + rule_based[0]),
            self._unread([conversation], [completion])[0],
            graded.reasons_of(0, self.grader.propositions),
        )

    def _unread(
        self, conversations: Sequence[Conversation], completions: Sequence[str]
    ) -> Sequence[int]:
        """Tokens that the reward model does not read of each row; none where it does not tell."""
        count = getattr(self.reward_model, "unread_tokens", None)
        return count(conversations, completions) if count else [0] * len(completions)
