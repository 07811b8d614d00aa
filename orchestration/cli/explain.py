"""``rbr explain``: why a completion gets its reward."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from orchestration.cli.common import (
    JsonOption,
    RootOption,
    check_response_type,
    console,
    load_reward,
    open_context,
    print_json,
)


def explain(
    prompt: Annotated[str, typer.Option(help="What the user says.")],
    completion: Annotated[str, typer.Option(help="What the model answers.")],
    response_type: Annotated[
        str, typer.Option(help="What the policy asks for on this prompt.")
    ] = "hard_refusal",
    as_json: JsonOption = False,
    root: RootOption = None,
) -> None:
    """The reward of one completion, split into R_rm and each rule's contribution."""
    from rbr.data.rows import Message

    context = open_context(root)
    check_response_type(context.rules, response_type)
    reward = load_reward(context)
    told = reward.explain((Message(role="user", content=prompt),), completion, response_type)
    if as_json:
        print_json(asdict(told))
        return
    table = Table("feature", "value", "weight", "contribution", title=f"as {response_type}")
    table.add_row("R_rm", "", "", f"{told.reward_model:+.3f}")
    for name, (value, weight, contribution) in told.ordered():
        style = "green" if contribution > 0.005 else "red" if contribution < -0.005 else "dim"
        table.add_row(name, f"{value:.2f}", f"{weight:+.2f}", f"{contribution:+.3f}", style=style)
    table.add_row("R_tot", "", "", f"{told.reward:+.3f}", style="bold")
    console.print(table)
