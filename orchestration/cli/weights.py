"""``rbr weights``: what other margins or another L2 strength would make of the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestration.cli import common
from rbr.errors import RBRError

if TYPE_CHECKING:
    from rbr.rules.rules import Rules

app = typer.Typer(no_args_is_help=True, help="The weights of the rules.")


@app.command("try")
def try_(
    margin: Annotated[
        list[str] | None,
        typer.Option(
            help="NUMBER for all response types, TYPE=NUMBER, or TYPE:BETTER>WORSE=NUMBER; may be repeated."
        ),
    ] = None,
    l2: Annotated[
        list[float] | None, typer.Option(help="Strengths to choose from; the profile's by default.")
    ] = None,
    as_json: common.JsonOption = False,
    root: common.RootOption = None,
) -> None:
    """Fit the weights to the graded comparisons again, and show what moves; nothing is written."""
    from pipeline.weights import graded_frames
    from rbr.files import read_json
    from rbr.reward.fit import fit_response_type

    context = common.open_context(root)
    common.artifact(context, "graded_comparisons")
    folder = common.artifact(context, "fitted_weights")
    rules = with_margins(common.compiled_rules(context), margin or [])
    options = context.settings.weights
    if l2:
        if min(l2) <= 0:
            raise RBRError("--l2 must be above 0")
        options = options.model_copy(update={"l2_path": tuple(l2)})
    frames = graded_frames(context)
    weights, former = (
        read_json(folder / "weights.json")["weights"],
        read_json(folder / "report.json"),
    )
    report: dict[str, Any] = {}
    for name in weights:
        fit = fit_response_type(frames, name, rules, options, context.settings.seed)
        report[name] = {
            "l2": [former[name]["l2"], fit.l2],
            "pair_error": [former[name]["pair_error"]["total"], fit.pair_error["total"]],
            "sign_violations": fit.sign_violations,
            "weights": {key: [weights[name].get(key), value] for key, value in fit.weights.items()},
        }
    if as_json:
        common.print_json(report)
        return
    for name, of in report.items():
        _show(name, of)


def with_margins(rules: Rules, given: list[str]) -> Rules:
    """The rules with other margins.

    Raises:
        RBRError: on a margin that is no positive number, or of what is not in the rules.
    """
    from dataclasses import replace

    reward = dict(rules.reward)
    for text in given:
        where, _, number = text.rpartition("=")
        name, _, pair = where.partition(":")
        common.check_response_type(rules, name or None, "--margin")
        try:
            value = float(number)
        except ValueError:
            value = 0.0
        if not 0 < value < float("inf"):
            raise RBRError(f"--margin '{text}': '{number}' is no number above 0")
        for key in [name] if name else list(reward):
            rule = reward[key]
            if not pair:
                reward[key] = rule.model_copy(update={"margin": value})
                continue
            better, _, worse = pair.partition(">")
            rank = {label: r for r, labels in enumerate(rule.ordering) for label in labels}
            if rank.get(better, len(rank)) >= rank.get(worse, -1):
                order = " > ".join("/".join(labels) for labels in rule.ordering)
                raise RBRError(f"--margin '{text}': not BETTER>WORSE of {order}")
            reward[key] = rule.model_copy(update={"margins": {**rule.margins, pair: value}})
    return replace(rules, reward=reward)


def _show(response_type: str, of: dict[str, Any]) -> None:
    moved = sorted(of["weights"].items(), key=lambda item: -abs(item[1][1] - (item[1][0] or 0.0)))
    common.print_table(
        ["feature", "fitted", "tried", "moved by"],
        [
            [
                key,
                "none" if old is None else f"{old:+.3f}",
                f"{new:+.3f}",
                f"{new - (old or 0):+.3f}",
            ]
            for key, (old, new) in moved
        ],
        response_type,
    )
    (before, now), (old, new) = of["pair_error"], of["l2"]
    common.console.print(
        f"error on held-out pairs {before:.1%} -> {now:.1%}; l2 {old:g} -> {new:g};"
        f" against the stated signs: {', '.join(of['sign_violations']) or 'none'}\n"
    )
