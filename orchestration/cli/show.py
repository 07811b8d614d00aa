"""A rule as a person reads it."""

from __future__ import annotations

import difflib

from orchestration.cli.common import console, print_table
from rbr.errors import RuleError
from rbr.rules.models import Conjunction, Proposition
from rbr.rules.rules import Rules


def show(rules: Rules, name: str) -> None:
    """Print a rule.

    Raises:
        RuleError: if nothing has that name, with the closest one.
    """
    if name in rules.propositions:
        _show_proposition(rules.propositions[name], name, uses(rules, name))
    elif name in rules.derived:
        console.print(f"[bold]{name}[/] = {_terms(rules.derived[name])}")
        for use in uses(rules, name):
            console.print(f"  used in {use}")
    elif name in rules.classes:
        classes, reward = rules.classes[name], rules.reward[name]
        print_table(["class", "is"], [[c, _terms(rule)] for c, rule in classes.items()], name)
        console.print(f"features: {', '.join(rules.feature_names(name))}")
        console.print(f"ordering: {' > '.join('/'.join(rank) for rank in reward.ordering)}")
        console.print(f"margin:   {reward.margin} {reward.margins or ''}")
    else:
        names = [*rules.propositions, *rules.derived, *rules.classes]
        close = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean '{close[0]}'?" if close else f"there are: {', '.join(names)}"
        raise RuleError(f"no rule '{name}'; {hint}")


def uses(rules: Rules, name: str) -> list[str]:
    """Where a proposition or derived proposition is used."""
    conjunctions = {f"derived proposition {other}": rule for other, rule in rules.derived.items()}
    for response_type, classes in rules.classes.items():
        conjunctions |= {f"class {response_type}.{c}": rule for c, rule in classes.items()}
    found = [use for use, rule in conjunctions.items() if name in (*rule.all, *rule.none)]
    return found + [
        f"feature of {response_type} (weight {rules.sign(response_type, name)})"
        for response_type, reward in rules.reward.items()
        if name in reward.features
    ]


def _terms(rule: Conjunction) -> str:
    return " and ".join([*rule.all, *(f"not {name}" for name in rule.none)]) or "always"


def _show_proposition(rule: Proposition, name: str, used_in: list[str]) -> None:
    from rich.markup import escape
    from rich.panel import Panel
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_row("[bold]question", escape(rule.question))
    table.add_row("[bold]definition", escape(rule.definition))
    table.add_row("[bold]true when", escape(rule.true_when))
    table.add_row("[bold]false when", escape(rule.false_when))
    for side, examples in (("yes", rule.examples.positive), ("no", rule.examples.negative)):
        for example in examples:
            table.add_row(f"[bold]{side}", escape(f"{example.user} → {example.completion}"))
    for use in used_in:
        table.add_row("[bold]used in", use)
    console.print(Panel(table, title=name, title_align="left"))
