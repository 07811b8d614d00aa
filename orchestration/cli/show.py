"""A rule as a person reads it."""

from __future__ import annotations

from rich.panel import Panel
from rich.table import Table

from orchestration.cli.common import console
from rbr.errors import RuleError
from rbr.rules import Rules
from rbr.rules.models import Conjunction


def _terms(rule: Conjunction) -> str:
    parts = [*rule.all, *(f"not {name}" for name in rule.none)]
    return " and ".join(parts) or "always"


def uses(rules: Rules, name: str) -> list[str]:
    """Where a proposition or derived proposition is used."""
    found = [
        f"derived proposition {other}"
        for other, rule in rules.derived.items()
        if name in (*rule.all, *rule.none)
    ]
    for kind, classes in rules.classes.items():
        found += [
            f"class {kind}.{label}"
            for label, rule in classes.items()
            if name in (*rule.all, *rule.none)
        ]
    found += [
        f"feature of {kind} (weight {rules.sign(kind, name)})"
        for kind, reward in rules.reward.items()
        if name in reward.features
    ]
    return found


def show(rules: Rules, name: str) -> None:
    """Print a rule.

    Raises:
        RuleError: if nothing has that name, with the closest one.
    """
    if name in rules.propositions:
        rule = rules.propositions[name]
        table = Table.grid(padding=(0, 2))
        table.add_row("[bold]question", rule.question)
        table.add_row("[bold]definition", rule.definition)
        table.add_row("[bold]true when", rule.true_when)
        table.add_row("[bold]false when", rule.false_when)
        for side, examples in (("yes", rule.examples.positive), ("no", rule.examples.negative)):
            for example in examples:
                table.add_row(f"[bold]{side}", f"{example.user} → {example.completion}")
        for use in uses(rules, name):
            table.add_row("[bold]used in", use)
        console.print(Panel(table, title=name, title_align="left"))
    elif name in rules.derived:
        console.print(f"[bold]{name}[/] = {_terms(rules.derived[name])}")
        for use in uses(rules, name):
            console.print(f"  used in {use}")
    elif name in rules.classes:
        table = Table("class", "is", title=name)
        for label, conjunction in rules.classes[name].items():
            table.add_row(label, _terms(conjunction))
        console.print(table)
        reward = rules.reward[name]
        console.print(f"features: {', '.join(rules.feature_names(name))}")
        console.print(f"ordering: {' > '.join('/'.join(rank) for rank in reward.ordering)}")
        console.print(f"margin:   {reward.margin} {reward.margins or ''}")
    else:
        import difflib

        names = [*rules.propositions, *rules.derived, *rules.classes]
        close = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean '{close[0]}'?" if close else f"there are: {', '.join(names)}"
        raise RuleError(f"no rule '{name}'; {hint}")
