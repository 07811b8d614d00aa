"""``rbr``: entry point. An error that a person can act on is one line on stderr and exit status 1."""

from __future__ import annotations

import gc
import sys

import typer

from orchestration.bars import hide_bars
from orchestration.cli import data, grader, models, new, release, reward, rules, runs, weights
from orchestration.cli.chat import chat
from orchestration.cli.doctor import doctor
from orchestration.cli.evaluate import evaluate
from orchestration.cli.explain import explain
from orchestration.cli.export import export
from orchestration.cli.init import init
from orchestration.cli.plan import plan
from orchestration.cli.serve import serve
from rbr.errors import RBRError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="Rule Based Rewards: check and show rules, evaluate models, explain and serve rewards.",
)
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")
app.add_typer(rules.app, name="rules")
app.add_typer(new.app, name="new")
app.add_typer(grader.app, name="grader")
app.add_typer(release.app, name="release")
app.command()(init)
app.command()(doctor)
app.add_typer(reward.app, name="reward")
app.add_typer(runs.app, name="runs")
app.add_typer(weights.app, name="weights")
app.command()(chat)
app.command()(evaluate)
app.command()(explain)
app.command()(export)
app.command()(grader.grade)
app.command()(plan)
app.command()(serve)


def main() -> None:
    """Run the command line."""
    # Libraries' own bars would break the tables; what is long here shows its own.
    hide_bars(always=True)
    try:
        app()
    except RBRError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    finally:
        gc.freeze()  # the process ends: nothing is worth collecting


if __name__ == "__main__":
    main()
