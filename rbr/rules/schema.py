"""JSON Schemas of the rule files, for editors: ``python -m rbr.rules.schema`` writes them.

Each rule file names its schema in a ``yaml-language-server`` line at its top.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rbr.files import write_json
from rbr.rules.models import SECTIONS, Proposition

FOLDER = Path("rules") / ".schema"


def schemas() -> dict[str, dict[str, Any]]:
    """File name under ``rules/.schema`` -> schema."""
    models: dict[str, Any] = {"proposition": Proposition, **SECTIONS}
    return {f"{name}.json": model.model_json_schema() for name, model in models.items()}


if __name__ == "__main__":
    for name, schema in schemas().items():
        write_json(FOLDER / name, schema)
        print(f"wrote {FOLDER / name}")
