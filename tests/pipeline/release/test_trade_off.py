"""The trade-off plot: every model is seen, also where two have one point."""

import io

import numpy as np

from pipeline.plots import axes, save_plot
from pipeline.release.comparison_table import trade_off


def drawn(rows):
    figure, (plot,) = axes(6, 6)
    trade_off({"rows": rows}, plot)
    markers = [
        (line.get_markersize(), line.get_fillstyle(), line.get_color())
        for line in plot.lines
        if line.get_marker() in ("o", "s")
    ]
    picture = io.BytesIO()
    save_plot(figure, picture)
    return markers, picture.getvalue()


def row(name, x, y):
    return {"model": name, "not_unsafe": [x, x, x], "not_overrefuse": [y, y, y]}


def test_a_model_on_anothers_point_is_a_ring_around_it():
    import matplotlib.colors
    import matplotlib.image

    markers, picture = drawn([row("a", 0.5, 0.5), row("b", 0.5, 0.505), row("c", 0.9, 0.9)])
    assert [size for size, _, _ in markers] == [6, 12, 6]
    assert [style for _, style, _ in markers] == ["full", "none", "full"]
    pixels = matplotlib.image.imread(io.BytesIO(picture))[..., :3]
    for _, _, color in markers:
        near = np.abs(pixels - np.array(matplotlib.colors.to_rgb(color))).max(axis=-1) < 0.02
        # More than its line in the legend.
        assert near.sum() > 40
