"""Graders and reward models that say fixed things, and weights that are drawn."""

import zlib

import numpy as np


def number(conversation, completion):
    """A number of both: an answer paired with another's prompt must not go unseen."""
    said = "|".join(f"{m.role}:{m.content}" for m in conversation)
    return zlib.crc32(f"{said}>{completion}".encode())


class FixedGrader:
    """Grades that depend on the conversation and the completion alone."""

    def __init__(self, names):
        self.propositions = names
        self.thresholds = np.full(len(names), 0.5)

    def identity(self, proposition):
        return f"fixed:{proposition}"

    def grade(self, conversations, completions, progress=None, propositions=None):
        rows = [
            np.random.default_rng(number(talk, text)).random(len(self.propositions))
            for talk, text in zip(conversations, completions, strict=True)
        ]
        return np.array(rows)


class FixedScorer:
    """Scores in sevenths, which binary fractions do not hold exactly, so that sums must round."""

    def score(self, conversations, completions):
        pairs = zip(conversations, completions, strict=True)
        return np.array([number(talk, text) % 1000 / 7 for talk, text in pairs])


def drawn_weights(rules):
    """Weights of each response type's features."""
    random = np.random.default_rng(0)
    return {
        kind: {name: float(random.normal()) for name in rules.feature_names(kind)}
        for kind in rules.response_types
    }


def ranked_comparisons(rules, kind, split):
    """Rows of one response type whose features speak for the better labels, R_rm for the worse."""
    random = np.random.default_rng(len(split))
    names = rules.feature_names(kind)
    signs = np.array([{"positive": 1, "negative": -1}.get(rules.sign(kind, n), 0) for n in names])
    rows = []
    for prompt in range(8):
        for rank, group in enumerate(rules.reward[kind].ordering):
            for label in group:
                p = np.clip(0.5 - 0.2 * rank * signs + random.normal(0, 0.1, len(names)), 0, 1)
                rows.append(
                    {
                        "id": f"{split}-{kind}-{prompt}-{label}",
                        "prompt_id": f"{split}-{kind}-{prompt}",
                    }
                    | {"response_type": kind, "label": label, "reward_model": float(rank)}
                    | dict(zip(names, p.tolist(), strict=True))
                )
    return rows
