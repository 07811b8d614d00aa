"""Rendering the counts of ``rbr data stats``."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from orchestration.cli.common import console
from rbr.data.stats import GoldStats, PromptStats


def show(prompts: PromptStats, gold: GoldStats, response_types: Sequence[str]) -> None:
    """Print prompts per category, split and form, leaks between splits, and gold support."""
    types = [kind.replace("_", " ") for kind in response_types]
    table = Table("category", *types, "all", "families", title="Safety prompts")
    for category, counts in prompts.categories.items():
        table.add_row(
            category.replace("_", " "),
            *_cells(counts, response_types),
            str(prompts.families[category]),
        )
    console.print(table)
    splits = Table("split", *types, "all", title="Split by family")
    for name, counts in prompts.splits.items():
        splits.add_row(name, *_cells(counts, response_types))
    console.print(splits)
    console.print(
        f"{prompts.prompts} prompts in {sum(prompts.families.values())} families,"
        f" {prompts.multi_turn} of several turns; {prompts.comply_share:.1%} to be complied with,"
        f" {prompts.lookalike_share:.1%} of those look like unsafe ones:"
    )
    console.print(", ".join(f"{count} {form}" for form, count in prompts.forms.items()))
    console.print(
        f"families in two splits: {', '.join(prompts.crossing) or 'none'};"
        f" near-duplicates across splits: {len(prompts.near_duplicates) or 'none'}"
    )
    for one, other, similarity in prompts.near_duplicates[:10]:
        console.print(f"  {one} and {other}: {similarity:.0%} of their word 3-grams are the same")
    support = Table("proposition", "train", "held-out", title="Gold positives")
    for name, (train, heldout) in gold.support.items():
        support.add_row(name, str(train), str(heldout))
    console.print(support)
    console.print(
        f"{gold.rows} gold rows ({gold.train} train, {gold.heldout} held-out), {gold.multi_turn} of"
        " several turns: "
        + ", ".join(f"{gold.response_types.get(kind, 0)} {kind}" for kind in response_types)
    )


def _cells(counts: dict[str, int], response_types: Sequence[str]) -> list[str]:
    return [*(str(counts.get(kind, 0)) for kind in response_types), str(sum(counts.values()))]
