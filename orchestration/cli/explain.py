"""``rbr explain``: why a completion gets its reward."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape

from orchestration.cli import common


def explain(
    prompt: common.PromptOption,
    completion: common.CompletionOption,
    response_type: Annotated[
        str | None,
        typer.Option(help="What the policy asks for on this prompt; its first one by default."),
    ] = None,
    as_json: common.JsonOption = False,
    root: common.RootOption = None,
) -> None:
    """The reward of one completion, split into R_rm and each rule's contribution."""
    from rbr.data.rows import Message

    context = common.open_context(root)
    rules = common.compiled_rules(context)
    common.check_response_type(rules, response_type)
    response_type = response_type or rules.response_types[0]
    reward = common.load_reward(context)
    explanation = reward.explain((Message(role="user", content=prompt),), completion, response_type)
    if as_json:
        common.print_json(asdict(explanation))
        return
    rows, styles = [["R_rm", "", "", f"{explanation.reward_model:+.3f}"]], [""]
    for name, (value, weight, contribution) in explanation.ordered():
        rows.append([name, f"{value:.2f}", f"{weight:+.2f}", f"{contribution:+.3f}"])
        styles.append(
            "green" if contribution > 0.005 else "red" if contribution < -0.005 else "dim"
        )
    rows.append(["R_tot", "", "", f"{explanation.reward:+.3f}"])
    columns = ["feature", "value", "weight", "contribution"]
    common.print_table(columns, rows, f"as {response_type}", [*styles, "bold"])
    if explanation.reasons:
        common.print_table(
            ["proposition", "the grader's reason"],
            [[name, escape(reason)] for name, reason in explanation.reasons.items()],
        )
    if explanation.unread_tokens:
        common.console.print(f"R_rm does not read {explanation.unread_tokens} tokens: too long")
