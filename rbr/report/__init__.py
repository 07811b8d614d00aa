"""The report of a run: one HTML file that needs no server."""

from rbr.report.build import Model, build
from rbr.report.examples import Example, choose

__all__ = ["Example", "Model", "build", "choose"]
