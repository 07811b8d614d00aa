"""``rbr release``: the champion of the model registry, and the way back to the one before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli.common import JsonOption, RootOption, console, find_root, print_json
from pipeline.profile import read_settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

app = typer.Typer(no_args_is_help=True, help="Released policies in MLflow's model registry.")
ProfileOption = Annotated[
    str | None, typer.Option(help="Whose champion; the profile of params.yaml by default.")
]


def _open(root: Path | None, profile: str | None) -> tuple[MlflowClient, str]:
    import logging

    logging.getLogger("alembic").setLevel(logging.WARNING)
    from mlflow import MlflowClient
    from orchestration.lineage.registry import tracking_address

    folder = find_root(root)
    return MlflowClient(tracking_address(folder)), read_settings(folder, profile)[0]


@app.command()
def show(
    profile: ProfileOption = None, as_json: JsonOption = False, root: RootOption = None
) -> None:
    """The versions that were champion, oldest first, with their F1* and rules."""
    from orchestration.lineage.registry import champion, history, model_of

    client, name = _open(root, profile)
    present = champion(client, name)
    rows = []
    for number in history(client, name):
        version = client.get_model_version(model_of(name), number)
        is_champion = present is not None and str(present.version) == number
        rows.append({"version": number, "champion": is_champion, **version.tags})
    if as_json:
        print_json(rows)
        return
    if not rows:
        console.print(f"nothing was released for profile '{name}'")
    for row in rows:
        mark = "champion" if row["champion"] else ""
        verdict = row.get("against_champion", "")
        console.print(
            f"version {row['version']}  F1* {float(row['f1_star']):.1%}  rules"
            f" {row['rules.digest'][:12]}  {verdict:<8} {mark}"
        )


@app.command()
def rollback(profile: ProfileOption = None, root: RootOption = None) -> None:
    """Give the champion alias back to the version before; both stay registered."""
    from orchestration.lineage.registry import rollback

    client, name = _open(root, profile)
    former, now = rollback(client, name)
    console.print(f"profile '{name}': champion was version {former}, is version {now} again")
