"""The same work on one machine or on many: batches in this process, or on a Ray cluster."""

from rbr.scale.batches import run_batches
from rbr.scale.options import ClusterOptions

__all__ = ["ClusterOptions", "run_batches"]
