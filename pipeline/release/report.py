"""Rendering: tables, plots (inside the file) and examples with their rewards."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined

from pipeline.release.comparison_table import shown
from pipeline.release.differences import COMPARED, difference_cell
from pipeline.release.examples import Example
from rbr.evaluation.behaviour import NEITHER
from rbr.reward.rule_based_reward import Explanation

# Contributions shown per answer: the largest; the rest is one line, so that the sum is seen to hold.
SHOWN = 5


@dataclass(frozen=True)
class Model:
    """A model's evaluation: ``results`` as ``evaluate_model`` gives them, and its judged rows."""

    results: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]


def parts(told: Explanation) -> list[tuple[str, float]]:
    """R_rm, the largest contributions and the sum of the others; they sum to the reward."""
    ordered = [(name, part) for name, (_, _, part) in told.ordered()]
    rest = sum(value for _, value in ordered[SHOWN:])
    first = [("R_rm", told.reward_model), *ordered[:SHOWN]]
    return [*first, ("all others", rest)] if len(ordered) > SHOWN else first


def build(
    table: Mapping[str, Any],
    models: Mapping[str, Model],
    plots: Mapping[str, bytes],
    examples: Sequence[Example],
    explain: Callable[[str, str, str], Explanation],
    facts: Mapping[str, str],
) -> str:
    """The report as HTML. All texts are escaped: completions are a model's.

    Args:
        table: of ``pipeline.release.comparison_table.comparison``.
        models: by the table's names.
        plots: title -> PNG.
        examples: of ``choose``.
        explain: (prompt, completion, response type) -> the reward's parts.
        facts: what the run rests on (rules digest, prompts, ...).
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = resources.files("pipeline.release").joinpath("template.html").read_text("utf-8")
    explained = [
        {
            "example": example,
            "answers": [
                {"model": name, "row": row, "told": told, "parts": parts(told)}
                for name, row in example.answers.items()
                for told in [explain(example.prompt, row["completion"], example.response_type)]
            ],
        }
        for example in examples
    ]
    kinds = sorted({kind for model in models.values() for kind in model.results["classes"]})
    classes = {
        kind: sorted(
            {name for model in models.values() for name in model.results["classes"].get(kind, {})}
        )
        for kind in kinds
    }
    return environment.from_string(template).render(
        table=table,
        models=models,
        classes=classes,
        given=[*(part["response_type"] for part in table["types"]), NEITHER],
        plots={
            title: "data:image/png;base64," + base64.b64encode(content).decode()
            for title, content in plots.items()
        },
        examples=explained,
        facts=facts,
        shown=shown,
        compared=COMPARED,
        difference_cell=difference_cell,
    )
