"""JSON Schemas of the rule files, for editors: ``python -m rbr.rules.schema`` writes them.

Each rule file names its schema in a ``yaml-language-server`` line at its top.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rbr.rules.models import Completions, Proposition
from rbr.rules.rules import SECTIONS

FOLDER = ".schema"


def schemas() -> dict[str, dict[str, Any]]:
    """File name under ``rules/.schema`` -> schema."""
    models: dict[str, Any] = {"proposition": Proposition, "completions": Completions, **SECTIONS}
    return {f"{name}.json": model.model_json_schema() for name, model in models.items()}


def write(folder: Path) -> list[Path]:
    """Write all schemas below a folder of rules; returns their paths."""
    from rbr.files import write_json

    (folder / FOLDER).mkdir(exist_ok=True)
    paths = []
    for name, schema in schemas().items():
        write_json(folder / FOLDER / name, schema)
        paths.append(folder / FOLDER / name)
    return paths


if __name__ == "__main__":
    for written in write(Path("rules")):
        print(f"wrote {written}")
