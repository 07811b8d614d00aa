"""Jobs as the commands of a terminal run them: problems in one line each."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
from rich.console import Console

from orchestration.bars import hide_bars
from orchestration.dagster_assets import GRAPH_RUN_TAG
from orchestration.definitions import definitions
from orchestration.orphaned_runs import PROCESS_TAG
from rbr.errors import RBRError

console = Console(highlight=False, soft_wrap=True)


class _Lines(logging.Handler):
    """Shows what bodies log; Dagster's own bookkeeping events are at a lower level.

    Args:
        started: what ``time.monotonic`` said at the start, of which all processes have the same clock.
    """

    def __init__(self, started: float) -> None:
        super().__init__(logging.INFO)
        self._started = started

    def emit(self, record: logging.LogRecord) -> None:
        about: dict[str, Any] = getattr(record, "dagster_meta", {})
        key = (about.get("step_key") or "").replace("__", "/")
        text = about.get("orig_message") or record.getMessage()
        if record.levelno >= logging.ERROR:
            return  # shown once, at the end, in one line
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        console.print(f"[dim]{minutes:3d}:{seconds:02d}[/]  [cyan]{key:<26}[/] {text}")


def terminal_job(root: str, job: str, started: float) -> dg.JobDefinition:
    """A job of the workspace that prints through Rich; an artifact's own process makes it anew."""
    if multiprocessing.parent_process() is not None:
        quiet()
        # Ctrl-C is the run's, which stops its artifacts. Else each helper that Dagster starts here to read
        # the logs would get it too, and print a traceback.
        os.setpgid(0, 0)

    @dg.logger(description="One line an event, for a terminal.")
    def console_logger(_: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.Logger("rbr.terminal", level=logging.INFO)
        logger.addHandler(_Lines(started))
        return logger

    defs = definitions(Path(root), loggers={"console": console_logger})
    return defs.resolve_job_def(job)


def status_of(work: Callable[[], list[str]]) -> int:
    """Exit status of a command: 1 if ``work`` returns problems or raises one, 130 if it is stopped."""
    quiet()
    try:
        problems = work()
    except RBRError as error:
        problems = [str(error)]
    except KeyboardInterrupt:
        console.print("stopped; the same command resumes from here")
        return 130
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


def run_job(
    root: Path,
    instance: dg.DagsterInstance,
    job: str,
    graph_run: str,
    ops: dict[str, Any] | None = None,
) -> list[str]:
    """Run a job of the workspace to its end; ``KeyboardInterrupt`` if it is stopped.

    Args:
        graph_run: names the MLflow parent run.
        ops: configuration of the job's ops.

    Returns:
        Problems, one line each; empty if all went well.
    """
    config: dict[str, Any] = {"loggers": {"console": {}}}
    arguments = (str(root), job, time.monotonic())
    config |= {"ops": ops} if ops else {}
    tags = {GRAPH_RUN_TAG: graph_run, PROCESS_TAG: str(os.getpid())}
    found = terminal_job(*arguments)
    result: dg.ExecuteInProcessResult | dg.JobExecutionResult
    if found.executor_def is dg.in_process_executor:
        # Under execute_job, Ctrl-C would end one artifact there, and the next would begin.
        result = found.execute_in_process(config, instance, tags=tags, raise_on_error=False)
    else:
        result = dg.execute_job(
            dg.build_reconstructable_job(__name__, terminal_job.__name__, arguments),
            instance,
            run_config=config,
            tags=tags,
        )
    if any(map(_interrupted, result.all_events)):
        raise KeyboardInterrupt
    failed = [] if result.success else [f"{job} failed: see the run in the Dagster UI"]
    return problems_of(result) or failed


def quiet() -> None:
    """Hide the libraries' own bars and notes; what bodies log is shown instead."""
    warnings.filterwarnings("ignore")
    hide_bars(always=True)
    logging.getLogger("py.warnings").setLevel(logging.ERROR)


def problems_of(result: dg.ExecuteInProcessResult | dg.JobExecutionResult) -> list[str]:
    """What stopped a run: failed artifacts and gates, one line each."""
    found = []
    for event in result.all_events:
        if event.is_step_failure:
            text = _failure(event)
            if "DagsterAssetCheckFailedError" not in text:  # a gate: shown below, with what failed
                found.append(f"{str(event.step_key).replace('__', '/')}: {text}")
        elif event.event_type_value == "ASSET_CHECK_EVALUATION":
            check = event.asset_check_evaluation_data
            # An alarm only warns, and its line is in the log.
            if not check.passed and check.severity == dg.AssetCheckSeverity.ERROR:
                key = check.asset_key.to_user_string()
                lines = (check.description or "").splitlines()
                failed = "; ".join(line.removeprefix("- ") for line in lines)
                found.append(f"{key}: gate does not pass: {failed}")
    return found


def _interrupted(event: dg.DagsterEvent) -> bool:
    """Whether a person stopped the run, in a step or between two; Dagster tells it from nothing else."""
    error = None
    if event.is_step_failure:
        error = event.step_failure_data.error
    elif event.event_type is dg.DagsterEventType.RUN_FAILURE:
        error = event.job_failure_data.error
    return error is not None and "DagsterExecutionInterruptedError" in error.to_string()


def _failure(event: dg.DagsterEvent) -> str:
    """Why a step failed: its own line, or the message of the error at the bottom."""
    data = event.step_failure_data
    if data.user_failure_data and data.user_failure_data.description:
        return str(data.user_failure_data.description)
    cause: Any = data.error
    while cause is not None and cause.cause is not None:
        cause = cause.cause
    return str(cause.message.strip()) if cause else "failed"
