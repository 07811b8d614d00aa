"""Fitting the weights of the rules into an artifact: its checks, plots, and gate."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.compiled_rules import compiled_rules
from pipeline.context import Context
from pipeline.gates import Part, between
from pipeline.plots import axes, save_plot
from pipeline.rows import SPLITS
from rbr.files import read_json, write_json
from rbr.reward import weight_plots
from rbr.reward.fit import FittedWeights, fit_response_type
from rbr.reward.rule_based_reward import fitted_to


def graded_frames(context: Context) -> dict[str, pd.DataFrame]:
    """The comparisons of each split with their features, and ``reward_model``: the helpful-only R_rm."""
    folder = context.path("graded_comparisons")
    return {split: pd.read_parquet(folder / f"{split}.parquet") for split in SPLITS}


def fit_weights(
    context: Context, frames: dict[str, pd.DataFrame], output: Path
) -> dict[str, float]:
    """Fit the weights of each response type, and write weights, checks and plots."""
    rules, options = compiled_rules(context), context.settings.weights
    present = set(frames["train"]["response_type"])
    fits: dict[str, FittedWeights] = {}
    for response_type in (name for name in rules.response_types if name in present):
        fit = fit_response_type(frames, response_type, rules, options, context.settings.seed)
        context.log(f"{response_type}: error {fit.pair_error['total']:.3f} with l2 {fit.l2}")
        fits[response_type] = fit
    weights = {name: fit.weights for name, fit in fits.items()}
    content = {"weights": weights, "rules": fitted_to(rules), "reward_model": options.reward_model}
    write_json(output / "weights.json", content)
    write_json(output / "histograms.json", {name: fit.histogram for name, fit in fits.items()})
    write_json(output / "report.json", {name: report(fit, name) for name, fit in fits.items()})
    draw(fits, output)
    metrics: dict[str, float] = {}
    for name, fit in fits.items():
        metrics |= {f"pair_error.{name}.{kind}": value for kind, value in fit.pair_error.items()}
        metrics[f"gap.{name}"] = fit.relative_duality_gap
    return metrics


def report(fit: FittedWeights, response_type: str) -> dict[str, Any]:
    """The figures of a fit beside the paper's."""
    figures = asdict(fit)
    del figures["weights"], figures["histogram"]
    curve = {str(share): errors for share, errors in fit.error_by_share_of_prompts.items()}
    paper = weight_plots.paper_errors(response_type)
    return figures | {"error_by_share_of_prompts": curve, "pair_error_paper": paper}


def draw(fits: dict[str, FittedWeights], output: Path) -> None:
    """Rewards by label, weights, errors without a feature, and errors on fewer prompts."""
    count = len(fits)
    figure, plots = axes(4.2 * count, 4, count)
    weight_plots.histograms(plots, {name: fit.histogram for name, fit in fits.items()})
    save_plot(figure, output / "rewards.png")
    figure, plots = axes(5.0 * count, 6, count)
    weight_plots.bars(plots, {name: fit.weights for name, fit in fits.items()})
    save_plot(figure, output / "weights.png")
    figure, plots = axes(5.0 * count, 6, count)
    rises = {name: fit.error_rises() for name, fit in fits.items()}
    weight_plots.bars(plots, rises, "rise of the error without it")
    save_plot(figure, output / "sensitivity.png")
    figure, plots = axes(12, 4.5, 2)
    weight_plots.errors(plots[0], {name: fit.pair_error for name, fit in fits.items()})
    curves = {name: fit.error_by_share_of_prompts for name, fit in fits.items()}
    weight_plots.curves(plots[1], curves)
    save_plot(figure, output / "errors.png")


def weight_checks(context: Context) -> list[Part]:
    """The gate of fitted weights."""
    gates = context.settings.gates
    rows = []
    for response_type, fit in read_json(context.folder / "report.json").items():
        errors = fit["pair_error"]
        rows.append(
            {
                "response_type": response_type,
                "total": errors["total"],
                "above_reward_model": errors["total"] - errors["reward_model"],
                "sign_violations": len(fit["sign_violations"]),
                "gap": fit["relative_duality_gap"],
            }
        )
    expectations = [
        between("total", 0, gates.pair_error_max, "error on held-out pairs"),
        between("above_reward_model", None, gates.pair_error_rise_max, "than R_rm alone"),
        between("sign_violations", 0, 0, "signs as the rules say"),
        between("gap", None, 0.01, "the fit is at its minimum (relative duality gap)"),
    ]
    return [Part("response types", pd.DataFrame(rows), expectations)]
