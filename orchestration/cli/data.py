"""``rbr data``: what the data holds, and rows of published formats."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from orchestration.cli.common import JsonOption, RootOption, console, find_root, print_json
from rbr.errors import DataError

app = typer.Typer(no_args_is_help=True, help="Prompts, gold rows and preferences.")


@app.command("import")
def import_(
    kind: Annotated[
        str, typer.Argument(metavar="FORMAT", help="openai-gold, xstest, hh-rlhf, ...")
    ],
    source: Annotated[str, typer.Argument(metavar="FILE", help=".jsonl, .csv, or a hub name.")],
    out: Annotated[Path | None, typer.Option(help="Where to; data/imported/ by default.")] = None,
    skip_bad: Annotated[bool, typer.Option(help="Leave rows out that cannot be read.")] = False,
    split: Annotated[str, typer.Option(help="Split of a hub's data set.")] = "train",
    root: RootOption = None,
) -> None:
    """Turn a published data set into rows of ours; each bad row is told by its line."""
    from rbr.files import write_rows
    from rbr.data.importers import read_foreign

    found = read_foreign(kind, source, split)
    for error in found.errors:
        print(f"{'left out' if skip_bad else 'error'}: {error}", file=sys.stderr)
    if found.errors and not skip_bad:
        raise typer.Exit(1)
    if not found.rows:
        raise DataError("no rows to import", Path(source))
    name = f"{Path(source).stem}-{kind}.jsonl"
    target = out or find_root(root) / "data" / "imported" / name
    write_rows(target, found.rows)
    console.print(f"{len(found.rows)} rows, {len(found.errors)} left out: {target}")


@app.command()
def stats(as_json: JsonOption = False, root: RootOption = None) -> None:
    """Counts of the written data: prompts per category, form and split, leaks, gold support."""
    from orchestration.cli.stats import show
    from rbr.data.rows import Labelled, Prompt
    from rbr.data.stats import gold_stats, prompt_stats
    from rbr.files import read_folder
    from rbr.rules import load_rules
    from pipeline.profile import read_settings

    folder = find_root(root)
    rules = load_rules(folder / "rules")
    settings = read_settings(folder)[1]
    source = folder / "data" / "source"
    prompts = prompt_stats(read_folder(source / "safety_prompts", Prompt), rules, settings.prompts, settings.seed)
    gold = gold_stats(
        read_folder(source / "gold", Labelled), rules, settings.gold.heldout_fraction, settings.seed
    )
    if as_json:
        print_json({"prompts": asdict(prompts), "gold": asdict(gold)})
    else:
        show(prompts, gold, rules.response_types)


@app.command()
def label(
    file: Annotated[Path, typer.Argument(help="JSONL of gold rows, labelled or not.")],
    out: Annotated[
        Path, typer.Option(help="The labels go here; an unfinished one is gone on with.")
    ],
    root: RootOption = None,
) -> None:
    """Fill in or correct the propositions of gold rows, by keyboard; stop and go on at any row."""
    from orchestration.cli.label import label as run
    from rbr.rules import load_rules

    try:
        done = run(file, out, load_rules(find_root(root) / "rules"), lambda: console.input("> "))
    except (EOFError, KeyboardInterrupt):
        console.print("\nstopped; the same command goes on from here")
        return
    console.print(f"{done} rows labelled: {out}")


@app.command()
def agreement(one: Path, other: Path, as_json: JsonOption = False, root: RootOption = None) -> None:
    """Cohen's kappa per proposition between two label files, over the rows that both have."""
    from rbr.data.agreement import agreement as compare
    from rbr.data.rows import Labelled
    from rbr.files import read_rows
    from rbr.rules import load_rules

    names = load_rules(find_root(root) / "rules").proposition_names
    rows = compare(read_rows(one, Labelled), read_rows(other, Labelled), names)
    if as_json:
        print_json(rows)
        return
    table = Table("proposition", "agreement", "kappa", title=f"{rows[0]['rows']} rows of both")
    for row in sorted(rows, key=lambda row: row["kappa"]):
        table.add_row(row["proposition"], f"{row['agreement']:.1%}", f"{row['kappa']:.3f}")
    console.print(table)
