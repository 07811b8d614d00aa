"""``rbr release``: the champion of the model registry, and the way back to the one before."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli.common import JsonOption, RootOption, console, find_root, print_json

if TYPE_CHECKING:
    from mlflow import MlflowClient

app = typer.Typer(no_args_is_help=True, help="Released policies in MLflow's model registry.")
ProfileOption = Annotated[
    str | None, typer.Option(help="Whose champion; the profile of params.yaml by default.")
]


def _open(root: Path | None, profile: str | None) -> tuple[MlflowClient, str]:
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from mlflow import MlflowClient
    from orchestration.lineage.registry import tracking_address
    from pipeline.profile import read_profile

    folder = find_root(root)
    return MlflowClient(tracking_address(folder)), read_profile(folder, profile)[0]


@app.command()
def show(
    profile: ProfileOption = None, as_json: JsonOption = False, root: RootOption = None
) -> None:
    """The versions that were champion, oldest first, with their F1* and rules."""
    from orchestration.lineage.registry import champion, history, model_of

    client, name = _open(root, profile)
    current = champion(client, name)
    rows = []
    for number in history(client, name):
        version = client.get_model_version(model_of(name), number)
        is_champion = current is not None and str(current.version) == number
        rows.append({"version": number, "champion": is_champion, **version.tags})
    if as_json:
        print_json(rows)
        return
    if not rows:
        console.print(f"nothing was released for profile '{name}'")
    for row in rows:
        console.print(
            f"version {row['version']}  F1* {float(row['f1_star']):.1%}  rules"
            f" {row['rules.digest'][:12]}  {row.get('against_champion', ''):<8}"
            f" {'champion' if row['champion'] else ''}"
        )


@app.command()
def rollback(profile: ProfileOption = None, root: RootOption = None) -> None:
    """Move the champion alias back to the version before; both stay registered."""
    from orchestration.lineage.registry import rollback

    client, name = _open(root, profile)
    former, now = rollback(client, name)
    console.print(f"profile '{name}': champion was version {former}, is version {now} again")
