"""Graph runs that were started by themselves: how far the newest one is, and what it needs next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from orchestration.resources import GRAPH_RUN_TAG, RULES_TAG
from rbr.settings import VARIANTS

STARTED_BY_TAG = "rbr/started_by"
STARTERS = ["rules_changed", "weekly"]
_PARTITION_TAG = "dagster/partition"
_RUN_KEY_TAG = "dagster/run_key"


@dataclass(frozen=True)
class GraphRun:
    """A graph run.

    Attributes:
        name: value of its runs' tag ``rbr/graph_run``.
        runs: its runs, newest first.
        starts: newest ``shared`` runs of all graph runs, newest first.
    """

    name: str
    runs: Sequence[dg.DagsterRun]
    starts: Sequence[dg.DagsterRun]

    @property
    def run_id(self) -> str:
        """Of its newest ``shared`` run."""
        return self.starts[0].run_id

    @property
    def started_by(self) -> str:
        return self.starts[0].tags[STARTED_BY_TAG]

    @property
    def rules(self) -> str | None:
        """Digest of the rules that it compiled; None if it did not come so far."""
        return self.starts[0].tags.get(RULES_TAG)

    @property
    def going_on(self) -> bool:
        """Whether one of its runs waits, runs, or is due."""
        return any(not run.is_finished for run in self.runs) or bool(due_parts(self.runs))

    def starts_without_rules(self, run_key: str) -> int:
        """How many starts in a row, the newest one first, have such a key and compiled no rules."""
        count = 0
        for run in self.starts:
            if RULES_TAG in run.tags or not run.tags.get(_RUN_KEY_TAG, "").startswith(run_key):
                break
            count += 1
        return count


def newest(instance: dg.DagsterInstance) -> GraphRun | None:
    """The newest graph run that a sensor or schedule started; there is one at a time."""
    starts = instance.get_runs(
        dg.RunsFilter(job_name="shared", tags={STARTED_BY_TAG: STARTERS}), limit=5
    )
    if not starts:
        return None
    name = starts[0].tags[GRAPH_RUN_TAG]
    return GraphRun(name, instance.get_runs(dg.RunsFilter(tags={GRAPH_RUN_TAG: name})), starts)


def due_parts(runs: Sequence[dg.DagsterRun]) -> list[tuple[str, str | None]]:
    """Jobs of a graph run, with their partition, that can be started and were not.

    A part that failed is not due again: started by hand and successful, it lets the rest go on.
    """

    def done(job: str, variant: str | None = None) -> bool:
        return any(
            run.job_name == job and run.is_success and run.tags.get(_PARTITION_TAG) == variant
            for run in runs
        )

    started = {(run.job_name, run.tags.get(_PARTITION_TAG)) for run in runs}
    due: list[tuple[str, str | None]] = []
    if done("shared"):
        due += [("variant", variant) for variant in VARIANTS]
    if all(done("variant", variant) for variant in VARIANTS):
        due.append(("release", None))
    return [part for part in due if part not in started]
