"""Runs whose process was killed: Dagster takes them for running, and its queue waits for them."""

from __future__ import annotations

import dagster as dg

from rbr.files import lives

PROCESS_TAG = "rbr/process"
_CODE_SERVER_TAG = ".dagster/grpc_info"


def report_lost_runs(instance: dg.DagsterInstance, workers: bool = False) -> list[str]:
    """Tell Dagster that runs which a process of ours held (``make demo``) ended with it.

    Args:
        workers: those of Dagster's own workers too: no code server is there, so none of them is.
            (A code server reports the death of its workers; when it dies itself, nobody does.)

    Returns:
        The runs' ids.
    """
    lost = []
    unfinished = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
    for run in instance.get_runs(dg.RunsFilter(statuses=unfinished)):
        process = run.tags.get(PROCESS_TAG, "")
        killed = process.isdigit() and not lives(int(process))
        if killed or (workers and _CODE_SERVER_TAG in run.tags):
            instance.report_run_failed(run, "its process went away: it can go on from there")
            lost.append(run.run_id)
    return lost
