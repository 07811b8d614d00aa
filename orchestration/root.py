"""Where the workspace is: the code is wherever it is installed, and takes no path from there."""

from __future__ import annotations

import os
from pathlib import Path

from rbr.errors import RBRError

# Names the workspace where a process may run in another folder (a pod, a service).
ROOT = "RBR_ROOT"


def find_root(root: Path | None = None) -> Path:
    """The given root, that of ``RBR_ROOT``, or the nearest folder at or above with a ``params.yaml``.

    Raises:
        RBRError: if there is none.
    """
    named = root or (Path(os.environ[ROOT]) if os.environ.get(ROOT) else None)
    here = (named or Path.cwd()).resolve()
    for folder in (here,) if named else (here, *here.parents):
        if (folder / "params.yaml").is_file():
            return folder
    raise RBRError(
        "no params.yaml here: go to the project's folder, pass --root, or make one by `rbr init`",
        here,
    )
