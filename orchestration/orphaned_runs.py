"""Runs whose process was killed: Dagster believes they are running, and its queue waits for them."""

from __future__ import annotations

import dagster as dg
import psutil

PROCESS_TAG = "rbr/process"
_CODE_SERVER_TAG = ".dagster/grpc_info"


def report_orphaned_runs(instance: dg.DagsterInstance, workers: bool = False) -> list[str]:
    """Report runs as failed that executed in a process of ours (``make demo``) which is gone.

    Args:
        workers: also those of Dagster's own workers. Only valid while no code server is running: it
            reports the death of its workers itself, but its own death is reported by nobody.

    Returns:
        The ids of these runs.
    """
    orphaned = []
    unfinished = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
    for run in instance.get_runs(dg.RunsFilter(statuses=unfinished)):
        process = run.tags.get(PROCESS_TAG, "")
        killed = process.isdigit() and not psutil.pid_exists(int(process))
        if killed or (workers and _CODE_SERVER_TAG in run.tags):
            instance.report_run_failed(
                run, "its process is gone; started again, it continues from there"
            )
            orphaned.append(run.run_id)
    return orphaned
