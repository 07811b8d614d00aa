"""What the commands share: the project's root, its artifacts, and printing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from rbr.errors import RBRError
from rbr.rules import Rules
from pipeline.profile import read_settings
from rbr.steps import Context

if TYPE_CHECKING:
    from rbr.reward.rule_based_reward import RuleBasedReward

console = Console(highlight=False)

RootOption = Annotated[
    Path | None, typer.Option("--root", help="The project's root; by default the one around here.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def find_root(root: Path | None) -> Path:
    """The given root, or the nearest folder at or above the current one with a ``params.yaml``.

    Raises:
        RBRError: if there is none.
    """
    here = (root or Path.cwd()).resolve()
    for folder in (here,) if root else (here, *here.parents):
        if (folder / "params.yaml").is_file():
            return folder
    raise RBRError("no params.yaml here: go to the project's folder or give --root", here)


def open_context(root: Path | None, variant: Any = None) -> Context:
    """The workspace's artifacts under the profile of ``params.yaml``."""
    folder = find_root(root)
    return Context(folder, read_settings(folder)[1], variant)


def artifact(context: Context, name: str, variant: str | None = None) -> Path:
    """Folder of an artifact that must be there.

    Raises:
        RBRError: naming the folder and how to make it.
    """
    folder = context.path(name, variant)
    if not (folder / "metrics.json").is_file():
        raise RBRError(f"no artifact '{name}' yet: `make demo` makes it", folder)
    return folder


def load_reward(context: Context) -> RuleBasedReward:
    """The fitted reward: rules, weights, grader (asked afresh, not from the store) and R_rm.

    Raises:
        RBRError: naming the first artifact that is missing, before any model is loaded.
    """
    from pipeline import inputs

    for name in ("base_model", "grader", "fitted_weights", "helpful_reward_model"):
        artifact(context, name)
    return common.load_reward(context)


def check_response_type(rules: Rules, value: str) -> None:
    """Check an option ``--response-type``.

    Raises:
        RBRError: if the rules have no such response type.
    """
    if value not in rules.response_types:
        allowed = ", ".join(rules.response_types)
        raise RBRError(f"--response-type '{value}' is not one of {allowed}")


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))
