"""``rbr reward``: the fitted reward, for other trainers and judged by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestration.cli import common
from orchestration.cli.reward_evaluate import evaluate

app = typer.Typer(no_args_is_help=True, help="The fitted reward.")
app.command()(evaluate)


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="A new folder, or one exported before.")],
    root: common.RootOption = None,
) -> None:
    """Write rules, weights, grader and R_rm into one folder, for RuleBasedReward.from_pretrained."""
    from rbr.reward.pretrained import export_reward

    common.check_target(folder, "reward.json")
    export_reward(common.reward_of(common.open_context(root)).parts(), folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(
        f"{folder}: {size / 1e6:.0f} MB; RuleBasedReward.from_pretrained({str(folder)!r}) loads it"
    )
