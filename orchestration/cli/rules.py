"""``rbr rules``: check, show and compare the written rules."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli import common
from rbr.errors import DataError, RBRError

if TYPE_CHECKING:
    from rbr.data.rows import Labelled, Prompt
    from rbr.rules.rules import Rules

# What rows of a table come in, and no reader of source data takes.
TABLES = (".json", ".ndjson", ".csv", ".tsv", ".xlsx", ".parquet")
app = typer.Typer(no_args_is_help=True, help="The written rules.")


@app.command()
def check(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder of rules; rules/ by default.")
    ] = None,
    root: common.RootOption = None,
) -> None:
    """Check form, names and classes, that all is used, that rows fit the policy, and gold support."""
    from rbr.rules.check import checked_rules

    project = common.find_root(root)
    place = folder or project / "rules"
    rules, errors = checked_rules(place)
    problems = errors or (_unfit(project, place, rules) if rules else [])
    for error in problems:
        print(f"error: {error}", file=sys.stderr)
    if problems or rules is None:
        raise typer.Exit(1)
    print(
        f"{len(rules.propositions)} propositions, {len(rules.derived)} derived,"
        f" {sum(map(len, rules.classes.values()))} classes of {len(rules.types)} response types:"
        f" fine ({rules.digest[:12]})"
    )
    unwritten = [name for name in rules.response_types if not rules.completions.recipes.get(name)]
    if unwritten:
        common.console.print(
            f"no recipes for {', '.join(unwritten)} (completions.yaml): their comparisons come from a"
            " model alone"
        )


def _unfit(project: Path, place: Path, rules: Rules) -> Sequence[RBRError]:
    """Rows that do not fit the rules, what no row or rule uses, and features with too few gold rows."""
    from rbr.comparisons.compose import foreign_errors
    from rbr.data.attacks import attack_errors
    from rbr.data.gold import gold_errors
    from rbr.data.planting import sentence_errors
    from rbr.data.splits import prompt_errors
    from rbr.data.stats import support_errors, unused_errors
    from rbr.files import visible
    from rbr.rules.check import unused_derived

    source = project / "data" / "source"
    rows = {"safety_prompts": "prompts", "gold": "gold"}
    missing = [
        DataError(
            f"no *.jsonl file with rows here: `rbr data template {template}` prints a row",
            source / name,
        )
        for name, template in rows.items()
        if not visible(source / name, "*.jsonl")
    ]
    unread = [
        DataError("read by nothing: rows stand in *.jsonl files, one a line", path)
        for name in rows
        for path in visible(source / name, "*")
        if path.suffix.lower() in TABLES
    ]
    if missing or unread:
        return [*unread, *missing]
    prompts: list[Prompt] = []
    gold: list[Labelled] = []
    errors = [
        *prompt_errors(source / "safety_prompts", rules, prompts),
        *attack_errors(source / "safety_prompts"),
        *gold_errors(source / "gold", rules, gold),
        *sentence_errors(source / "gold", rules),
    ]
    return errors or [
        *unused_errors(place, rules, prompts),
        *unused_derived(place, rules),
        *foreign_errors(place, rules, _split(project, prompts)),
        *_unmade(project, place, rules),
        *support_errors(place, rules, gold, least_support(project)),
    ]


def _unmade(project: Path, place: Path, rules: Rules) -> Sequence[RBRError]:
    """Labels without recipes that no completion can be of."""
    if all(rules.completions.recipes.get(name) for name in rules.response_types):
        return []  # a check that draws nothing starts without NumPy
    from rbr.comparisons.wanted import label_errors

    return [*label_errors(place, rules, _seed(project))]


def _split(project: Path, prompts: Sequence[Prompt]) -> dict[str, list[Prompt]]:
    """The prompts as the profile that ``params.yaml`` names splits them."""
    from pipeline.profile import read_section
    from rbr.data.splits import SplitOptions, kept_prompts

    return kept_prompts(prompts, read_section(project, "prompts", SplitOptions), _seed(project))


def _seed(project: Path) -> int:
    """The seed of the profile; what is no seed is told where the profile is read as a whole."""
    from pipeline.profile import read_profile

    seed = read_profile(project)[1].get("seed", 0)
    return seed if isinstance(seed, int) else 0


def least_support(project: Path) -> int:
    """How many gold rows a feature must be true of."""
    from pipeline.profile import Gates, read_section
    from rbr.data.gold import ROLES

    # One row for each role is the least that can be fitted and measured.
    return max(1, read_section(project, "gates", Gates).gold_rare_support) * len(ROLES)


@app.command()
def show(name: str, root: common.RootOption = None) -> None:
    """Show a proposition, a derived proposition or a response type, and where it is used."""
    from orchestration.cli.show import show as render

    render(common.written_rules(root), name)


@app.command()
def diff(
    rev: Annotated[str, typer.Argument(help="Git revision to compare with.")] = "HEAD",
    as_json: common.JsonOption = False,
    root: common.RootOption = None,
) -> None:
    """What changed in meaning since a git revision, what is made again, and how many grades."""
    from orchestration.cli.diff import compare

    changes = compare(common.open_context(root), rev)
    if as_json:
        common.print_json(asdict(changes))
        return
    for line in changes.lines or [f"the rules mean the same as at {rev}"]:
        common.console.print(line)
    if not changes.stale:
        return
    common.console.print(f"\nmade again: {', '.join(changes.stale)}")
    count = len(changes.propositions)
    common.console.print(
        f"changed wordings: {count} proposition{'' if count == 1 else 's'};"
        f" grades made again: {changes.grades}"
    )
    if changes.note:
        common.console.print(changes.note)
