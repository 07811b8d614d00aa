"""Jobs run in this process, as the commands of a terminal run them: problems in one line each."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import dagster as dg

from orchestration.console import console
from orchestration.lost import PROCESS_TAG
from orchestration.resources import GRAPH_RUN_TAG
from rbr.errors import RBRError


def status_of(work: Callable[[], list[str]]) -> int:
    """Exit status of a command: 1 if ``work`` returns problems or raises one, 130 if it was stopped."""
    quiet()
    try:
        problems = work()
    except RBRError as error:
        problems = [str(error)]
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on from here")
        return 130
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


def run_job(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    job: str,
    graph_run: str,
    partition: str | None = None,
) -> list[str]:
    """Run a job to its end, or to its first failure.

    Args:
        defs: with a logger named ``console``.
        graph_run: names the MLflow parent run.

    Returns:
        Problems, one line each; empty if all went well.
    """
    result = defs.resolve_job_def(job).execute_in_process(
        instance=instance,
        run_config={"loggers": {"console": {}}},
        partition_key=partition,
        tags={GRAPH_RUN_TAG: graph_run, PROCESS_TAG: str(os.getpid())},
        raise_on_error=False,
    )
    title = f"{job} {partition}" if partition else job
    failed = [] if result.success else [f"{title} failed: see the run in the Dagster UI"]
    return problems_of(result) or failed


def quiet() -> None:
    """Libraries' own bars and notes; what the steps say is shown instead."""
    import logging

    warnings.filterwarnings("ignore")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    logging.getLogger("py.warnings").setLevel(logging.ERROR)


def problems_of(result: dg.ExecuteInProcessResult) -> list[str]:
    """What stopped a run: failed steps and gates, one line each."""
    found = []
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            cause: Any = data.error
            while cause is not None and cause.cause is not None:
                cause = cause.cause
            told = data.user_failure_data.description if data.user_failure_data else None
            text = told or (cause.message.strip() if cause else "failed")
            if "DagsterAssetCheckFailedError" in text:
                continue  # told below, with what failed
            found.append(f"{event.step_key}: {text}")
        elif event.event_type_value == "ASSET_CHECK_EVALUATION":
            check = event.asset_check_evaluation_data
            if not check.passed:
                failed = check.metadata["failed"].value
                found.append(f"{check.asset_key.to_user_string()}: gate did not pass: {failed}")
    return found
