"""Where grading, generation and evaluation run."""

from __future__ import annotations

from pydantic import Field

from rbr.options import Options


class ClusterOptions(Options):
    """Where grading, generation and evaluation run: no artifact depends on it, no step declares it.

    Without an ``address`` they run in this process. ``workers`` actors hold a model each; ``cpus`` and
    ``gpus`` are what one asks of its node.
    """

    address: str | None = Field(
        None, description="a Ray cluster, host:port; local: one of this machine alone"
    )
    workers: int = Field(2, gt=0)
    cpus: float = Field(1.0, ge=0)
    gpus: float = Field(0.0, ge=0)
    object_store_mb: int = Field(200, ge=80, description="shared memory of a local cluster")
    grader_servers: tuple[str, ...] = Field(
        (),
        description="servers of one model that the openai engine asks, in grader.address's place",
    )
    kubernetes: bool = Field(False, description="each Dagster step in a pod of its own")
