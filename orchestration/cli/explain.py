"""``rbr explain``: why a completion gets its reward."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from orchestration.cli import common
from rbr.errors import RBRError

if TYPE_CHECKING:
    from pipeline.context import Context
    from rbr.data.rows import Prompt
    from rbr.rules.rules import Rules

NONE = "none"


def explain(
    prompt: common.PromptOption,
    completion: common.CompletionOption,
    response_type: Annotated[
        str | None,
        typer.Option(
            help="What the policy asks for on this prompt, or none; known for the project's own prompts,"
            " else asked for."
        ),
    ] = None,
    as_json: common.JsonOption = False,
    root: common.RootOption = None,
) -> None:
    """The reward of one completion, split into R_rm and each rule's contribution."""
    from rbr.data.rows import Message

    common.check_answer(prompt, completion)
    context = common.open_context(root)
    rules = common.compiled_rules(context)
    response_type = wanted_type(context, rules, prompt, response_type)
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
    common.print_table(
        columns, rows, f"as {response_type or 'outside the policy'}", [*styles, "bold"]
    )
    if explanation.reasons:
        common.print_table(
            ["proposition", "the grader's reason"],
            [[name, escape(reason)] for name, reason in explanation.reasons.items()],
        )
    if explanation.unread_tokens:
        common.console.print(f"R_rm does not read {explanation.unread_tokens} tokens: too long")


def wanted_type(context: Context, rules: Rules, prompt: str, given: str | None) -> str | None:
    """The response type that is given, that the policy states of this prompt, or that a person types.

    Returns:
        None for ``none``: outside the policy.

    Raises:
        RBRError: if it is none of the rules', or nobody can be asked.
    """
    if given is None:
        given = stated_type(context, rules, prompt)
    if given is None:
        choices = [*rules.response_types, NONE]
        if not sys.stdin.isatty():
            raise RBRError(
                "no prompt of the project reads so: give what the policy asks for on it, --response-type"
                f" {' | '.join(choices)}"
            )
        kinds = {name: _kinds(rules, name) for name in rules.response_types}
        for name, of in {**kinds, NONE: "outside the policy"}.items():
            common.error_console.print(f"{name}: {of}", markup=False)
        given = typer.prompt("response type", err=True)
    if given == NONE:
        return None
    common.check_response_type(rules, given)
    return given


def stated_type(context: Context, rules: Rules, prompt: str) -> str | None:
    """The response type of the written prompt with the same words, if there is one; it is named."""
    from rbr.data.words import normalised

    row = written_prompts(context).get(normalised(prompt))
    if row is None:
        return None
    found = rules.response_type(row.category, row.kind)
    print(f"{row.id}: {row.category}/{row.kind}, so {found}", file=sys.stderr)
    return found


def written_prompts(context: Context) -> dict[str, Prompt]:
    """The written prompts of one turn, by their normalised words."""
    from rbr.data.rows import Prompt
    from rbr.data.words import normalised
    from rbr.files import read_rows

    folder = context.source / "safety_prompts"
    rows = read_rows(folder, Prompt) if folder.is_dir() else []
    alone = [row for row in rows if len(row.conversation) == 1]
    # Of prompts with the same words the first counts.
    return {normalised(row.conversation[0].content): row for row in reversed(alone)}


def _kinds(rules: Rules, response_type: str) -> str:
    pairs = ((c, kind) for c, kinds in rules.policy.items() for kind in kinds)
    return ", ".join(f"{c}/{k}" for c, k in pairs if rules.policy[c][k] == response_type)
