"""``rbr data``: what the data holds, and rows of published formats."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from rbr.cli.common import JsonOption, RootOption, console, find_root, print_json
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
    from rbr.importers import read_foreign

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
def stats(root: RootOption = None) -> None:
    """Counts of the written data: prompts per category and response type, gold support."""
    from rbr.data.gold import split_gold
    from rbr.data.rows import Labelled, Prompt
    from rbr.files import read_folder
    from rbr.rules import load_rules
    from rbr.settings import read_settings

    folder = find_root(root)
    rules = load_rules(folder / "rules")
    settings = read_settings(folder)[1]
    prompts = read_folder(folder / "data" / "source" / "safety_prompts", Prompt)
    kinds = {p.id: rules.response_type(p.category, p.kind) for p in prompts}
    table = Table("category", *rules.response_types, "families", title="Safety prompts")
    for category in sorted({p.category for p in prompts}):
        own = [p for p in prompts if p.category == category]
        count = Counter(kinds[p.id] for p in own)
        cells = [str(count[kind]) for kind in rules.response_types]
        table.add_row(category, *cells, str(len({p.family for p in own})))
    console.print(table)
    comply = sum(kind == "comply" for kind in kinds.values())
    several = sum(len(p.conversation) > 1 for p in prompts)
    console.print(
        f"{len(prompts)} prompts in {len({p.family for p in prompts})} families,"
        f" {comply / len(prompts):.1%} to be complied with, {several} of several turns"
    )
    gold = read_folder(folder / "data" / "source" / "gold", Labelled)
    train, heldout = split_gold(gold, settings.gold.heldout_fraction, settings.seed)
    support = Table("proposition", "train", "held-out", title="Gold positives")
    counts = [Counter(name for row in side for name in row.true) for side in (train, heldout)]
    for name in sorted(rules.proposition_names, key=lambda n: counts[0][n]):
        support.add_row(name, str(counts[0][name]), str(counts[1][name]))
    console.print(support)
    by_type = Counter(row.response_type for row in gold)
    console.print(
        f"{len(gold)} gold rows ({len(train)} train, {len(heldout)} held-out): "
        + ", ".join(f"{by_type[kind]} {kind}" for kind in rules.response_types)
    )


@app.command()
def label(
    file: Annotated[Path, typer.Argument(help="JSONL of gold rows, labelled or not.")],
    out: Annotated[
        Path, typer.Option(help="The labels go here; an unfinished one is gone on with.")
    ],
    root: RootOption = None,
) -> None:
    """Fill in or correct the propositions of gold rows, by keyboard; stop and go on at any row."""
    from rbr.cli.label import label as run
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
    from rbr.agreement import agreement as compare
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
