"""Fit the weights per response type, and run the paper's checks before RL."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from rbr.files import write_json
from rbr.rules import Rules
from rbr.steps import common
from rbr.steps.context import Context
from rbr.weights import Fit, Pairs, fit_weights, make_pairs, pair_error


def _bounds(rules: Rules, kind: str, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    signs = [rules.sign(kind, name) for name in names]
    lower = np.array([0.0 if sign == "positive" else -np.inf for sign in signs])
    upper = np.array([0.0 if sign == "negative" else np.inf for sign in signs])
    return lower, upper


class _Split:
    """Rows of one response type and split."""

    def __init__(self, frame: pd.DataFrame, kind: str, rules: Rules) -> None:
        own = frame[frame["response_type"] == kind]
        rule = rules.reward[kind]
        self.labels = own["label"].tolist()
        self.prompts = own["prompt_id"].tolist()
        self.phi = own[rules.feature_names(kind)].to_numpy(dtype=float)
        self.rm = own["reward_model"].to_numpy(dtype=float)
        self.pairs: Pairs = make_pairs(
            self.prompts, self.labels, rule.ordering, rule.margin, rules.margins(kind)
        )
        best = set(rule.ordering[0])
        is_best = np.array([label in best for label in self.labels])
        keep = is_best[self.pairs.better] if len(self.pairs) else np.zeros(0, dtype=bool)
        # The paper's error is over (ideal, other) pairs.
        self.ideal_pairs = Pairs(
            self.pairs.better[keep], self.pairs.worse[keep], self.pairs.margin[keep]
        )


def _fit(train: _Split, validation: _Split, context: Context, kind: str, with_rm: bool) -> Fit:
    settings = context.settings.weights
    rules = context.rules
    lower, upper = _bounds(rules, kind, rules.feature_names(kind))
    if not settings.constrain_signs:
        lower, upper = np.full_like(lower, -np.inf), np.full_like(upper, np.inf)
    use = 1.0 if with_rm else 0.0
    fits = []
    for l2 in settings.l2_path:
        fit = fit_weights(train.phi, train.rm * use, train.pairs, l2, lower, upper)
        held = validation if len(validation.pairs) else train
        rewards = held.rm * use + held.phi @ fit.weights
        gap = held.pairs.margin - (rewards[held.pairs.better] - rewards[held.pairs.worse])
        fits.append((float(np.maximum(0, gap).mean()), fit))
    return min(fits, key=lambda pair: pair[0])[1]


def _centred(split: _Split, rewards: np.ndarray, best: set[str]) -> dict[str, list[float]]:
    """Rewards by label, less the mean of the prompt's best completions."""
    result: dict[str, list[float]] = {}
    frame = pd.DataFrame({"prompt": split.prompts, "label": split.labels, "reward": rewards})
    for _, own in frame.groupby("prompt"):
        centre = own.loc[own["label"].isin(best), "reward"].mean()
        for label, reward in zip(own["label"], own["reward"], strict=True):
            result.setdefault(label, []).append(float(reward - centre))
    return result


def run(context: Context) -> dict[str, float]:
    rules = context.rules
    folder_in = context.path("graded_comparisons")
    frames = {split: pd.read_parquet(folder_in / f"{split}.parquet") for split in common.SPLITS}
    weights: dict[str, dict[str, float]] = {}
    report: dict[str, Any] = {}
    metrics: dict[str, float] = {}
    kinds = [k for k in rules.response_types if (frames["train"]["response_type"] == k).any()]
    figure, plots = common.axes(4.2 * len(kinds), 4, len(kinds))
    bars, bar_plots = common.axes(5.0 * len(kinds), 6, len(kinds))
    for number, kind in enumerate(kinds):
        train, validation, heldout = (_Split(frames[s], kind, rules) for s in common.SPLITS)
        total = _fit(train, validation, context, kind, with_rm=True)
        alone = _fit(train, validation, context, kind, with_rm=False)
        names = rules.feature_names(kind)
        weights[kind] = {n: float(w) for n, w in zip(names, total.weights, strict=True)}
        rewards = heldout.rm + heldout.phi @ total.weights
        errors = {
            "reward_model": pair_error(heldout.rm, heldout.ideal_pairs),
            "rbr": pair_error(heldout.phi @ alone.weights, heldout.ideal_pairs),
            "total": pair_error(rewards, heldout.ideal_pairs),
        }
        wrong = [
            name
            for name, weight in weights[kind].items()
            if (rules.sign(kind, name) == "positive" and weight < 0)
            or (rules.sign(kind, name) == "negative" and weight > 0)
        ]
        report[kind] = {
            "pair_error": errors,
            "sign_violations": wrong,
            "objective": total.objective,
            "relative_duality_gap": total.gap,
            "train_pairs": len(train.pairs),
            "heldout_pairs": len(heldout.ideal_pairs),
        }
        for name, value in errors.items():
            metrics[f"pair_error.{kind}.{name}"] = value
        metrics[f"gap.{kind}"] = total.gap
        best = set(rules.reward[kind].ordering[0])
        for label, values in _centred(heldout, rewards, best).items():
            plots[0][number].hist(values, bins=25, alpha=0.5, label=label, density=True)
        plots[0][number].set_title(f"{kind}\nreward, centred on the best", fontsize=9)
        plots[0][number].legend(fontsize=7)
        bar_plots[0][number].barh(names, total.weights, color="#5b8db8")
        bar_plots[0][number].set_title(kind, fontsize=9)
        bar_plots[0][number].tick_params(labelsize=6)
    with context.output("fitted_weights") as folder:
        write_json(folder / "weights.json", {"weights": weights, "rules": rules.digest})
        write_json(folder / "report.json", report)
        common.save_plot(figure, folder / "rewards.png")
        common.save_plot(bars, folder / "weights.png")
        write_json(folder / "metrics.json", metrics)
    return metrics
