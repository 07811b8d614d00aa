"""Fit the weights per response type, and run the paper's checks before RL."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from rbr import weight_plots
from rbr.files import write_json
from rbr.rules import Rules
from rbr.steps import common
from rbr.steps.context import Context
from rbr.weight_checks import Bounds, Comparisons, centred, drop_one, fit_path, prompt_curve


def bounds(rules: Rules, kind: str, constrain: bool) -> Bounds:
    """Signs that the rules state, as bounds."""
    signs = [rules.sign(kind, name) for name in rules.feature_names(kind)]
    lower = [0.0 if constrain and sign == "positive" else -np.inf for sign in signs]
    upper = [0.0 if constrain and sign == "negative" else np.inf for sign in signs]
    return Bounds(np.array(lower), np.array(upper))


def fixed(rules: Rules, kind: str, size: float) -> Bounds:
    """Bounds that leave one weight a feature: ``size`` with the rules' sign, 0 where they state none."""
    by_sign = {"positive": size, "negative": -size}
    names = rules.feature_names(kind)
    weights = np.array([by_sign.get(rules.sign(kind, name), 0.0) for name in names])
    return Bounds(weights, weights)


def of_kind(frame: pd.DataFrame, kind: str, rules: Rules) -> Comparisons:
    """The rows of one response type."""
    own = frame[frame["response_type"] == kind]
    rule = rules.reward[kind]
    return Comparisons.make(
        own["prompt_id"].tolist(),
        own["label"].tolist(),
        own[rules.feature_names(kind)].to_numpy(dtype=float),
        own["reward_model"].to_numpy(dtype=float),
        rule.ordering,
        rule.margin,
        rules.margins(kind),
    )


def wrong_signs(rules: Rules, kind: str, weights: dict[str, float]) -> list[str]:
    """Features whose weight is against the sign that the rules state."""
    stated = bounds(rules, kind, constrain=True)
    limits = zip(weights.items(), stated.lower, stated.upper, strict=True)
    return [name for (name, weight), low, high in limits if not low <= weight <= high]


def run(context: Context) -> dict[str, float]:
    return fit(context, "fitted_weights", graded(context))


def graded(context: Context) -> dict[str, pd.DataFrame]:
    """Per split the comparisons with their features, and ``reward_model``: the helpful-only R_rm."""
    folder = context.path("graded_comparisons")
    return {split: pd.read_parquet(folder / f"{split}.parquet") for split in common.SPLITS}


def fit(context: Context, artifact: str, frames: dict[str, pd.DataFrame]) -> dict[str, float]:
    """Fit on ``graded`` frames, and write weights, checks and plots as ``artifact``."""
    rules = context.rules
    settings = context.settings.weights
    kinds = [k for k in rules.response_types if (frames["train"]["response_type"] == k).any()]
    weights: dict[str, dict[str, float]] = {}
    report: dict[str, Any] = {}
    metrics: dict[str, float] = {}
    histograms: dict[str, dict[str, list[float]]] = {}
    rises: dict[str, dict[str, float]] = {}
    for kind in kinds:
        train, validation, heldout = (of_kind(frames[s], kind, rules) for s in common.SPLITS)
        if settings.fixed is None:
            limits = bounds(rules, kind, settings.constrain_signs)
        else:
            limits = fixed(rules, kind, settings.fixed)
        reward_model_alone = heldout.error(np.zeros(heldout.features.shape[1]))
        if not settings.reward_model:
            train, validation, heldout = (
                own.without_reward_model() for own in (train, validation, heldout)
            )
        total, l2 = fit_path(train, validation, settings.l2_path, limits)
        alone, _ = fit_path(
            train.without_reward_model(),
            validation.without_reward_model(),
            settings.l2_path,
            limits,
        )
        names = rules.feature_names(kind)
        weights[kind] = {n: float(w) for n, w in zip(names, total.weights, strict=True)}
        errors = {
            "reward_model": reward_model_alone,
            "rbr": heldout.without_reward_model().error(alone.weights),
            "total": heldout.error(total.weights),
        }
        without = drop_one(train, heldout, l2, limits)
        rises[kind] = {n: e - errors["total"] for n, e in zip(names, without, strict=True)}
        curve = prompt_curve(train, heldout, l2, limits, seed=context.settings.seed)
        report[kind] = {
            "pair_error": errors,
            "pair_error_paper": weight_plots.paper_errors(kind),
            "sign_violations": wrong_signs(rules, kind, weights[kind]),
            "objective": total.objective,
            "relative_duality_gap": total.gap,
            "l2": l2,
            "train_prompts": len(set(train.prompts)),
            "train_pairs": len(train.pairs),
            "heldout_pairs": len(heldout.ideal_pairs),
            "error_without_feature": dict(zip(names, without, strict=True)),
            "error_by_share_of_prompts": {str(share): own for share, own in curve.items()},
        }
        for name, value in errors.items():
            metrics[f"pair_error.{kind}.{name}"] = value
        metrics[f"gap.{kind}"] = total.gap
        histograms[kind] = centred(heldout, total.weights, rules.reward[kind].ordering[0])
        context.tracker.message(f"{kind}: error {errors['total']:.3f} with l2 {l2}")
    with context.output(artifact) as folder:
        told = {"weights": weights, "rules": rules.digest, "reward_model": settings.reward_model}
        write_json(folder / "weights.json", told)
        write_json(folder / "histograms.json", histograms)
        write_json(folder / "report.json", report)
        _draw(folder, weights, report, histograms, rises)
        write_json(folder / "metrics.json", metrics)
    return metrics


def _draw(
    folder: Any,
    weights: dict[str, dict[str, float]],
    report: dict[str, Any],
    histograms: dict[str, dict[str, list[float]]],
    rises: dict[str, dict[str, float]],
) -> None:
    count = len(weights)
    figure, plots = common.axes(4.2 * count, 4, count)
    weight_plots.histograms(plots[0], histograms)
    common.save_plot(figure, folder / "rewards.png")
    figure, plots = common.axes(5.0 * count, 6, count)
    weight_plots.bars(plots[0], weights)
    common.save_plot(figure, folder / "weights.png")
    figure, plots = common.axes(5.0 * count, 6, count)
    weight_plots.sensitivity(plots[0], rises)
    common.save_plot(figure, folder / "sensitivity.png")
    figure, plots = common.axes(12, 4.5, 2)
    weight_plots.errors(plots[0][0], {kind: own["pair_error"] for kind, own in report.items()})
    curves = {
        kind: {float(share): values for share, values in own["error_by_share_of_prompts"].items()}
        for kind, own in report.items()
    }
    weight_plots.curves(plots[0][1], curves)
    common.save_plot(figure, folder / "errors.png")
