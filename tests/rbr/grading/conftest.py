"""A tiny model whose tokenizer knows yes and no."""

from __future__ import annotations

from pathlib import Path

import pytest

from rbr.models.tiny import make_tiny


@pytest.fixture(scope="session")
def tiny(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = [path.read_text() for path in sorted((root / "rules/propositions").glob("*.yaml"))]
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model", texts)
