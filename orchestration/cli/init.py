"""``rbr init``: a project of one's own."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from orchestration.cli import common
from orchestration.project.examples import PAPER, example_names


def init(
    folder: Annotated[Path, typer.Argument(help="A new folder, or an empty one.")],
    example: Annotated[
        str, typer.Option(help=f"What it starts from: {', '.join(example_names())}.")
    ] = PAPER,
) -> None:
    """Make a project: rules, data, profiles, dvc.yaml, and a git and DVC repository."""
    from orchestration.project.create import create

    known = create(folder.resolve(), example)
    place = shlex.quote(str(folder))
    common.console.print(f"wrote {place} from the example '{example}'", soft_wrap=True)
    if not known:
        common.console.print(
            "git knows no user.name and user.email: set them before you commit"
            " (the first commit is by 'rbr init')",
            soft_wrap=True,
        )
    common.console.print(f"next: cd {place}, then rbr rules check", soft_wrap=True)
