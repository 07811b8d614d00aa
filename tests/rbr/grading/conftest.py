"""A tiny model whose tokenizer knows yes and no."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny(tiny_model: Path) -> Path:
    return tiny_model
