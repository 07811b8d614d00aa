"""The same work on one machine or on many: batches, the graders over them, and a cluster of Ray's."""

from rbr.scale.batches import run_batches
from rbr.scale.graders import SpreadGrader

__all__ = ["SpreadGrader", "run_batches"]
