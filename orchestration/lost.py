"""Runs whose process was killed: Dagster takes them for running, and its queue waits for them."""

from __future__ import annotations

import dagster as dg

from rbr.files import lives

PROCESS_TAG = "rbr/process"


def report_lost_runs(instance: dg.DagsterInstance) -> None:
    """Tell Dagster that runs which a process of ours held (``make demo``) ended with it.

    Runs of Dagster's own workers have no such tag: its run monitoring looks after those.
    """
    unfinished = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
    for run in instance.get_runs(dg.RunsFilter(statuses=unfinished)):
        process = run.tags.get(PROCESS_TAG, "")
        if process.isdigit() and not lives(int(process)):
            instance.report_run_failed(run, "its process was killed; make demo goes on from there")
