"""Plots of fitted weights and of the checks before RL: one column a response type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Shares of wrongly ordered (ideal, other) pairs in the paper, read off its plot (+-0.01).
PAPER_ERRORS = {
    "hard_refusal": {"reward_model": 0.68, "rbr": 0.003, "total": 0.005},
    "soft_refusal": {"reward_model": 0.32, "rbr": 0.005, "total": 0.010},
    "comply": {"reward_model": 0.107, "rbr": 0.015, "total": 0.011},
}
NAMES = {"reward_model": "R_rm", "rbr": "RBR alone", "total": "R_tot"}


def paper_errors(response_type: str) -> Mapping[str, float]:
    """The paper's figures for a response type (it has one for both soft refusals); may be empty."""
    if response_type.startswith("soft_refusal"):
        return PAPER_ERRORS["soft_refusal"]
    return PAPER_ERRORS.get(response_type, {})


def histograms(plots: Sequence[Any], rewards: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
    """Rewards by label, centred per prompt on the best completions' mean.

    The heights are shares of a label's completions over common bins, not densities: a label with one
    best completion per prompt has rewards of 0 alone, whose density would dwarf the others.
    """
    for plot, (response_type, by_label) in zip(plots, rewards.items(), strict=True):
        bins = np.histogram_bin_edges(np.concatenate(list(by_label.values())), bins=30)
        for label, values in by_label.items():
            share = np.full(len(values), 1 / len(values))
            plot.hist(values, bins=bins, weights=share, alpha=0.5, label=label)
        plot.set_ylabel("share of the label's completions", fontsize=7)
        plot.set_title(f"{response_type}\nreward, centred on the best", fontsize=9)
        plot.legend(fontsize=7)


def bars(
    plots: Sequence[Any], values: Mapping[str, Mapping[str, float]], what: str = "weight"
) -> None:
    """A value of each feature: its weight, or the rise of the held-out error without it."""
    for plot, (response_type, by_name) in zip(plots, values.items(), strict=True):
        colours = ["#b8675b" if value < 0 else "#5b8db8" for value in by_name.values()]
        plot.barh(list(by_name), list(by_name.values()), color=colours)
        plot.axvline(0, color="black", linewidth=0.6)
        plot.set_title(f"{response_type}\n{what}", fontsize=9)
        plot.tick_params(labelsize=6)


def errors(plot: Any, by_type: Mapping[str, Mapping[str, float]]) -> None:
    """Share of (best, other) pairs in the wrong order, beside the paper's (diamonds)."""
    places = np.arange(len(by_type))
    for number, (name, title) in enumerate(NAMES.items()):
        at = places + 0.27 * (number - 1)
        plot.bar(at, [shares[name] for shares in by_type.values()], width=0.25, label=title)
        for x, response_type in zip(at, by_type, strict=True):
            if name in paper_errors(response_type):
                plot.plot(x, paper_errors(response_type)[name], "kD", markersize=4)
    plot.plot([], [], "kD", markersize=4, label="the paper")
    plot.set_xticks(places, list(by_type), fontsize=7)
    plot.set_ylabel("wrongly ordered (best, other) pairs")
    plot.set_title("held-out prompts", fontsize=9)
    plot.legend(fontsize=7)


def curves(plot: Any, by_type: Mapping[str, Mapping[float, Sequence[float]]]) -> None:
    """Held-out error over the share of prompts that the weights were fitted on: mean and range."""
    for response_type, curve in by_type.items():
        fitted = {fraction: values for fraction, values in curve.items() if values}
        means = [float(np.mean(values)) for values in fitted.values()]
        (line,) = plot.plot(list(fitted), means, marker="o", markersize=3, label=response_type)
        low, high = [min(v) for v in fitted.values()], [max(v) for v in fitted.values()]
        plot.fill_between(list(fitted), low, high, alpha=0.12, color=line.get_color())
    plot.set_xscale("log")
    plot.set_xlabel("share of prompts")
    plot.set_ylabel("error of R_tot")
    plot.set_title("fitted on fewer prompts", fontsize=9)
    plot.legend(fontsize=7)
