"""The comparison table of a run, its trade-off plot, and the model card."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.variants import MAIN, Variant
from rbr.evaluation.behaviour import TYPE_METRICS

TYPE_TITLES = {"ideal": "Ideal", "good_enough": "Good enough", "wrong_type": "Wrong type"}
TITLES = {
    "not_unsafe": "Not-Unsafe",
    "not_overrefuse": "Not-Overrefuse",
    "f1_star": "F1*",
    "ideal_refusal": "Ideal refusals",
    "harm_on_comply": "Harm on comply",
    "no_answer": "No answer",
    "ended": "Ended",
    "fluency": "Fluency",
}
# Of models that answered attacked prompts.
ATTACK_TITLES = {
    "attack_success": "Attack success",
    "attacked_over_refusal": "Over-refusal under attack",
}
# Of the judge, on labelled answers to attack frames.
ATTACK_ACCURACIES = {
    "judge.refused_accuracy": "refusal",
    "judge.disallowed_accuracy": "disallowed content",
}

# Which refusal is the ideal one, no external set says.
EXTERNAL_METRICS = ("not_unsafe", "not_overrefuse", "f1_star", "harm_on_comply", "no_answer")
DECISION_TITLES = {"disallowed": "disallowed content", "refused": "refusal"}


def model_title(variant: Variant, stage: str) -> str:
    """How tables name a variant's ``sft`` or ``ppo`` model."""
    return f"{variant.title} {stage.upper()}"


def comparison(
    base: Mapping[str, Any],
    variants: Mapping[Variant, Mapping[str, Any]],
    judge: Mapping[str, float],
    response_types: Sequence[str],
    external: Sequence[Mapping[str, Any]] = (),
    attacks: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Rows of base, SFT and PPO models, and what a reader must know beside them.

    Args:
        base: ``results.json`` of the base model.
        variants: per variant its ``results.json``.
        judge: the judge's own accuracy, on answers to attacks too where that was measured.
        response_types: in the order of reports.
        external: of ``external_block``.
        attacks: by model, as the table names it: ``attack_results`` of its answers to attacked prompts.
    """
    models = {"base": base["base"]} | {
        model_title(variant, stage): results[stage]
        for stage in ("sft", "ppo")
        for variant, results in variants.items()
    }
    titles = TITLES | (ATTACK_TITLES if attacks else {})
    rows = [
        {"model": name, **result["metrics"]}
        | {metric: attacks[name][metric] for metric in ATTACK_TITLES if attacks}
        for name, result in models.items()
    ]
    by_name = {row["model"]: row for row in rows}
    notes = [
        f"{base['base']['prompts']} held-out prompts; the judge is right on held-out gold in"
        f" {judge['refusal_accuracy']:.1%} (refusal) and {judge['disallowed_accuracy']:.1%}"
        " (disallowed content)",
        "Ended: share of answers that end by themselves; Fluency: mean log-probability of an answer's"
        " tokens under the base model, nats; all others are percent",
        "'human' means SIMULATED annotators, over-cautious by setting; no person labelled these pairs",
    ]
    if attacks:
        notes.append(attack_note(next(iter(attacks.values())), judge))
    main = model_title(MAIN, "ppo")
    reached = by_name[main]["f1_star"][0]
    notes += [
        f"{main}'s F1* is NOT above that of {other} in this run"
        for other, row in by_name.items()
        if other != main and reached <= row["f1_star"][0]
    ]
    return {
        "rows": rows,
        "notes": notes,
        "metrics": list(titles),
        "titles": titles,
        "types": by_type(models, response_types),
        "type_metrics": list(TYPE_METRICS),
        "type_titles": TYPE_TITLES,
        "external": list(external),
        **({"attacks": by_form(attacks), "attack_titles": ATTACK_TITLES} if attacks else {}),
    }


def attack_note(results: Mapping[str, Any], judge: Mapping[str, float]) -> str:
    """What a reader must know of the columns under attack; ``results``: any model's."""
    note = (
        f"Under attack: {results['unsafe']} unsafe and {results['safe']} safe held-out prompts in frames of"
        f" {len(results['forms'])} forms that no training saw; judged on what was asked, without the frame"
    )
    shown = [
        f"{judge[name]:.1%} [{100 * judge[f'{name}.low']:.0f}, {100 * judge[f'{name}.high']:.0f}] ({what})"
        for name, what in ATTACK_ACCURACIES.items()
        if name in judge
    ]
    return (
        f"{note}; on labelled answers to frames the judge is right in {' and '.join(shown)}"
        if shown
        else note
    )


def by_form(attacks: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Per attack form how many prompts, and a row for each model."""
    first = next(iter(attacks.values()))
    return [
        {
            "form": form,
            "unsafe": found["unsafe"],
            "safe": found["safe"],
            "rows": [
                {"model": model, **{m: own["forms"][form][m] for m in ATTACK_TITLES}}
                for model, own in attacks.items()
            ],
        }
        for form, found in first["forms"].items()
    ]


def shown(metric: str, value: float, low: float, high: float) -> tuple[str, str]:
    """A metric and its interval for a table: percent, fluency in nats."""
    if metric == "fluency":
        return f"{value:.2f}", f"[{low:.2f}, {high:.2f}]"
    return f"{100 * value:.1f}", f"[{100 * low:.0f}, {100 * high:.0f}]"


def by_type(
    models: Mapping[str, Mapping[str, Any]], response_types: Sequence[str]
) -> list[dict[str, Any]]:
    """Per response type that has prompts, how many, and a row for each model."""
    first = next(iter(models.values()))
    return [
        {
            "response_type": name,
            "prompts": first["types"][name]["prompts"],
            "rows": [
                {"model": model, **{m: result["types"][name][m] for m in TYPE_METRICS}}
                for model, result in models.items()
            ],
        }
        for name in response_types
        if name in first["types"]
    ]


def external_block(
    name: str, results: Mapping[str, Mapping[str, Any]], judge: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """An external evaluation set: a row for each model, and what is known of the judge on such text.

    Args:
        results: ``evaluate_model``'s results by model title.
        judge: of ``accuracy_on_answers``; empty for a set without labelled answers.

    Returns:
        ``metrics`` are those of ``EXTERNAL_METRICS`` that the set has prompts for.
    """
    first = next(iter(results.values()))
    metrics = [m for m in EXTERNAL_METRICS if not math.isnan(first["metrics"][m][0])]
    if not {"not_unsafe", "not_overrefuse"} <= {*metrics}:
        metrics.remove("f1_star")  # it would be the other once more
    return {
        "set": name,
        "prompts": first["prompts"],
        "metrics": metrics,
        "judge": judge,
        "note": judge_note(judge),
        "rows": [
            {"model": model, **{m: found["metrics"][m] for m in metrics}}
            for model, found in results.items()
        ],
    }


def judge_note(judge: Mapping[str, Mapping[str, Any]]) -> str:
    """How often the judge is right on a set's own text, in words."""
    if not judge:
        return "how often the judge is right on such text is not known: the set has no labelled answers"
    parts = []
    for decision, found in judge.items():
        value, low, high = (f"{100 * part:.0f}" for part in found["accuracy"])
        sides = [
            f"{title} {found[side]:.0%}"
            for side, title in (("sensitivity", "of those that are"), ("specificity", "of others"))
            if found[side] is not None
        ]
        parts.append(
            f"{DECISION_TITLES[decision]} in {value} % [{low}, {high}] of {found['answers']} answers"
            f" ({', '.join(sides)})"
        )
    return "the judge is right on the set's own labelled answers: " + "; ".join(parts)


def markdown(table: Mapping[str, Any]) -> str:
    """The comparison as Markdown tables: of all prompts, of each response type and of each attack form."""
    notes = (f"- {note}" for note in table["notes"])
    lines = [*_markdown_rows(table["rows"], table["titles"]), "", *notes]
    for part in table["types"]:
        title = f"{part['response_type']} ({part['prompts']} prompts)"
        lines += ["", f"## {title}", "", *_markdown_rows(part["rows"], TYPE_TITLES)]
    for part in table["external"]:
        titles = {name: TITLES[name] for name in part["metrics"]}
        lines += ["", f"## {external_title(part)}", "", *_markdown_rows(part["rows"], titles)]
        lines += ["", f"- {part['note']}"]
    for part in table.get("attacks", ()):
        title = (
            f"Under attack: {part['form']} ({part['unsafe']} unsafe, {part['safe']} safe prompts)"
        )
        lines += ["", f"## {title}", "", *_markdown_rows(part["rows"], ATTACK_TITLES)]
    return "\n".join(lines) + "\n"


def external_title(part: Mapping[str, Any]) -> str:
    """The heading of an external set's table."""
    return f"{part['set']} ({part['prompts']} prompts of an external set)"


def _markdown_rows(rows: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> list[str]:
    lines = ["| model | " + " | ".join(titles.values()) + " |", "|---" * (1 + len(titles)) + "|"]
    for row in rows:
        cells = [f"{row[m][0]:.3f} [{row[m][1]:.3f}, {row[m][2]:.3f}]" for m in titles]
        lines.append(f"| {row['model']} | " + " | ".join(cells) + " |")
    return lines


def trade_off(table: Mapping[str, Any], axis: Any) -> None:
    """Not-Unsafe against Not-Overrefuse with intervals, over lines of equal F1*."""
    import numpy as np

    grid = np.linspace(0.01, 1, 200)
    x, y = np.meshgrid(grid, grid)
    lines = axis.contour(x, y, 2 * x * y / (x + y), levels=[0.3, 0.5, 0.7, 0.8, 0.9], colors="#ccc")
    axis.clabel(lines, fontsize=7)
    drawn: list[tuple[float, float]] = []
    for row in table["rows"]:
        (u, ul, uh), (o, ol, oh) = row["not_unsafe"], row["not_overrefuse"]
        # A model on another's point is a ring around it.
        below = sum(abs(u - x) < 0.012 and abs(o - y) < 0.012 for x, y in drawn)
        drawn.append((u, o))
        axis.errorbar(
            u,
            o,
            xerr=[[max(0.0, u - ul)], [max(0.0, uh - u)]],
            yerr=[[max(0.0, o - ol)], [max(0.0, oh - o)]],
            fmt="s" if "SFT" in row["model"] else "o",
            label=row["model"],
            markersize=6 + 6 * below,
            fillstyle="none" if below else "full",
            capsize=2,
        )
    axis.set_xlabel("Not-Unsafe")
    axis.set_ylabel("Not-Overrefuse")
    axis.set_xlim(0, 1.03)
    axis.set_ylim(0, 1.03)
    axis.legend(fontsize=7, loc="lower left")
