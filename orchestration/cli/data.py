"""``rbr data``: what the data holds, and rows of published formats."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli import common
from rbr.errors import DataError, RBRError

if TYPE_CHECKING:
    from rbr.data.rows import Row
    from rbr.data.stats import GoldStats, PromptStats

app = typer.Typer(no_args_is_help=True, help="Prompts, gold rows and preferences.")


@app.command("import")
def import_(
    source_format: Annotated[
        str, typer.Argument(metavar="FORMAT", help="openai-gold, xstest, hh-rlhf, ...")
    ],
    source: Annotated[
        str, typer.Argument(metavar="FILE", help=".jsonl, .json, .csv, .parquet, or a hub name.")
    ],
    out: Annotated[Path | None, typer.Option(help="Where to; data/imported/ by default.")] = None,
    skip_bad: Annotated[bool, typer.Option(help="Leave out rows that cannot be read.")] = False,
    split: Annotated[str, typer.Option(help="Split of a hub's data set.")] = "train",
    config: Annotated[str | None, typer.Option(help="Configuration of a hub's data set.")] = None,
    root: common.RootOption = None,
) -> None:
    """Convert a published data set to this project's rows; each bad row is reported with its line."""
    from rbr.data.importers import read_foreign
    from rbr.files import write_rows

    target = out
    if target is None:
        name = f"{Path(source).stem}-{source_format}.jsonl"
        target = common.find_root(root) / "data" / "imported" / name
    found = read_foreign(source_format, source, split, config)
    for error in found.errors:
        print(f"{'left out' if skip_bad else 'error'}: {error}", file=sys.stderr)
    if found.errors and not skip_bad:
        raise typer.Exit(1)
    if not found.rows:
        raise DataError("no rows to import", Path(source))
    write_rows(target, _with_own_types(found.rows, root))
    unlabelled = f", {len(found.unlabelled)} without a label" if found.unlabelled else ""
    common.console.print(
        f"{len(found.rows)} rows{unlabelled}, {len(found.errors)} left out: {target}"
    )


def _with_own_types(rows: list[Row], root: Path | None) -> list[Row]:
    """Prompts under the response types of the project's rules; outside a project under the paper's."""
    from rbr.data.evaluation_sets import for_policy
    from rbr.data.rows import PolicyPrompt

    prompts = [row for row in rows if isinstance(row, PolicyPrompt)]
    if not prompts:
        return rows
    try:
        folder = common.find_root(root)
    except RBRError:
        if root is not None:
            raise
        return rows
    return [*for_policy(prompts, common.written_rules(folder))]


@app.command()
def template(
    name: Annotated[str, typer.Argument(metavar="FORMAT", help="prompts, gold or preferences.")],
    root: common.RootOption = None,
) -> None:
    """Print an example row with the names of your rules; what the fields mean goes to stderr."""
    from rich.markup import escape

    from orchestration.cli.template import template as make

    found = make(name, common.written_rules(root))
    print(json.dumps(found.row.model_dump(exclude_none=True), ensure_ascii=False), flush=True)
    common.print_table(
        ["field", "what to write"],
        [[field, escape(text)] for field, text in found.fields.items()],
        f"{found.place}: one row a line",
        left=True,
        target=common.error_console,
    )


@app.command()
def stats(as_json: common.JsonOption = False, root: common.RootOption = None) -> None:
    """Counts of the written data: prompts per category, form and split, leaks, gold support."""
    from pipeline.profile import read_settings
    from rbr.data.gold import labelled_rows
    from rbr.data.splits import known_prompts
    from rbr.data.stats import gold_stats, prompt_stats

    folder, rules = common.find_root(root), common.written_rules(root)
    settings = read_settings(folder)[1]
    source = folder / "data" / "source"
    prompts = prompt_stats(
        known_prompts(source / "safety_prompts", rules), rules, settings.prompts, settings.seed
    )
    gold = gold_stats(labelled_rows(source / "gold", rules), rules, settings.gold, settings.seed)
    if as_json:
        common.print_json({"prompts": asdict(prompts), "gold": asdict(gold)})
    else:
        _show_prompts(prompts, rules.response_types)
        _show_gold(gold, rules.response_types)


def _show_prompts(prompts: PromptStats, response_types: tuple[str, ...]) -> None:
    def cells(counts: dict[str, int]) -> list[int]:
        return [*(counts.get(name, 0) for name in response_types), sum(counts.values())]

    columns = [*(name.replace("_", " ") for name in response_types), "all"]
    common.print_table(
        ["category", *columns, "families"],
        [
            [category.replace("_", " "), *cells(counts), prompts.families[category]]
            for category, counts in prompts.categories.items()
        ],
        "Safety prompts",
    )
    common.print_table(
        ["split", *columns],
        [[name, *cells(counts)] for name, counts in prompts.splits.items()],
        "Split by family",
    )
    common.console.print(
        f"{prompts.prompts} prompts in {sum(prompts.families.values())} families,"
        f" {prompts.multi_turn} of several turns; {prompts.comply_share:.1%} to be complied with,"
        f" {prompts.lookalike_share:.1%} of those look like unsafe ones:"
    )
    common.console.print(", ".join(f"{count} {form}" for form, count in prompts.forms.items()))
    common.console.print(
        f"families in two splits: {', '.join(prompts.crossing) or 'none'};"
        f" near-duplicates across splits: {len(prompts.near_duplicates) or 'none'}"
    )
    for one, other, similarity in prompts.near_duplicates[:10]:
        common.console.print(
            f"  {one} and {other}: {similarity:.0%} of their word 3-grams are the same"
        )


def _show_gold(gold: GoldStats, response_types: tuple[str, ...]) -> None:
    common.print_table(
        ["proposition", *gold.split],
        [[name, *found.values()] for name, found in gold.support.items()],
        "Gold positives",
    )
    common.console.print(
        f"{gold.rows} gold rows ("
        + ", ".join(f"{count} {role}" for role, count in gold.split.items())
        + f"), {gold.multi_turn} of several turns: "
        + ", ".join(f"{gold.response_types.get(name, 0)} {name}" for name in response_types)
    )


@app.command()
def show(
    identity: Annotated[str, typer.Argument(metavar="ID", help="Of a prompt or a gold row.")],
    as_json: common.JsonOption = False,
    root: common.RootOption = None,
) -> None:
    """A prompt or gold row: its split, labels and grades, and what each model answered."""
    from orchestration.cli.data_show import known
    from orchestration.cli.data_show import show as render

    found = known(common.open_context(root), common.written_rules(root), identity)
    if as_json:
        common.print_json(found)
    else:
        render(found)


@app.command()
def label(
    file: Annotated[Path, typer.Argument(help="JSONL of gold rows, labelled or not.")],
    out: Annotated[
        Path, typer.Option(help="Where the labels go; an unfinished file is continued.")
    ],
    root: common.RootOption = None,
) -> None:
    """Fill in or correct the propositions of gold rows, by keyboard; stop and continue at any row."""
    from orchestration.cli.label import label as run

    try:
        done = run(file, out, common.written_rules(root), lambda: common.console.input("> "))
    except (EOFError, KeyboardInterrupt):
        common.console.print("\nstopped; the same command continues from here")
        return
    common.console.print(f"{done} rows labelled: {out}")


@app.command()
def agreement(
    one: Path, other: Path, as_json: common.JsonOption = False, root: common.RootOption = None
) -> None:
    """Cohen's kappa per proposition between two label files, over the rows that both have."""
    from rbr.data.gold import labelled_rows
    from rbr.data.stats import agreement as compare

    rules = common.written_rules(root)
    first, second = (labelled_rows(path, rules) for path in (one, other))
    table = compare(first, second, rules.proposition_names)
    if as_json:
        common.print_json(table)
        return
    common.print_table(
        ["proposition", "agreement", "kappa"],
        [
            [row["proposition"], f"{row['agreement']:.1%}", f"{row['kappa']:.3f}"]
            for row in sorted(table, key=lambda row: row["kappa"])
        ],
        f"{table[0]['rows']} rows of both",
    )
