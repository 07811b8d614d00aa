"""``rbr data label``: a person fills in or corrects the propositions of gold rows, by keyboard.

Each answer is written at once (beside, then renamed), so that a session may stop at any row; the next one
starts at the first row that is not labelled yet.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich.markup import escape
from rich.panel import Panel

from orchestration.cli.common import console
from rbr.data.rows import Labelled
from rbr.files import read_rows, write_rows
from rbr.rules.rules import Rules

HELP = "numbers turn a label on or off; enter: done, next row; ?: definitions; b: back; q: stop"


def _show(row: Labelled, names: tuple[str, ...], true: set[str], where: str) -> None:
    turns = "\n".join(f"[bold]{m.role}[/]: {escape(m.content)}" for m in row.conversation)
    title = f"{where} · {row.id} · {row.response_type}"
    console.print(Panel(f"{turns}\n[bold green]answer[/]: {escape(row.completion)}", title=title))
    for number, name in enumerate(names, 1):
        mark = "[green]✓[/]" if name in true else " "
        console.print(f" {number:2d} {mark} {name}")
    console.print(f"[dim]{HELP}[/]")


def _toggle(answer: str, names: tuple[str, ...], true: set[str]) -> str | None:
    """Toggle the labels of the given numbers; returns what is wrong with the answer, or None."""
    numbers = answer.replace(",", " ").split()
    if not all(n.isdigit() and 1 <= int(n) <= len(names) for n in numbers):
        return f"'{answer}' is not numbers from 1 to {len(names)}, nor ?, b or q"
    for n in numbers:
        true.symmetric_difference_update({names[int(n) - 1]})
    return None


def label(source: Path, target: Path, rules: Rules, ask: Callable[[], str]) -> int:
    """Label the rows of ``source`` into ``target``.

    Args:
        ask: returns the next line that the person types.

    Returns:
        Number of rows labelled so far.
    """
    rows = read_rows(source, Labelled)
    done = {row.id: row for row in read_rows(target, Labelled)} if target.exists() else {}
    names = rules.proposition_names
    position = next((i for i, row in enumerate(rows) if row.id not in done), len(rows))
    while position < len(rows):
        row = rows[position]
        true = set(done.get(row.id, row).true)
        while True:
            _show(row, names, true, f"{position + 1}/{len(rows)}")
            answer = ask().strip()
            if answer == "q":
                return len(done)
            if answer == "b":
                position = max(0, position - 1)
                break
            if answer == "?":
                for name in names:
                    console.print(f"[bold]{name}[/]: {escape(rules.propositions[name].definition)}")
                continue
            contradiction = rules.relations.contradiction
            problem = _toggle(answer, names, true) if answer else contradiction(sorted(true))
            if problem:
                console.print(f"[red]{escape(problem)}[/]")
            elif not answer:
                done[row.id] = row.model_copy(update={"true": tuple(sorted(true))})
                write_rows(target, [done[r.id] for r in rows if r.id in done])
                position += 1
                break
    return len(done)
