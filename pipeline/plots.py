"""Figures that are drawn without a display."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any


def axes(width: float = 8.0, height: float = 4.5, columns: int = 1) -> tuple[Any, Any]:
    """A figure with one row of axes."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, grid = plt.subplots(1, columns, figsize=(width, height), squeeze=False)
    return figure, grid[0]


def save_plot(figure: Any, target: Path | IO[bytes]) -> None:
    """Write a figure as PNG, and close it."""
    import matplotlib.pyplot as plt

    figure.tight_layout()
    figure.savefig(target, dpi=110)
    plt.close(figure)
