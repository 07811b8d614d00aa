"""Retraining without a person: when a rule changes, and once a week. Both are off until switched on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg

from assets.written_rules import rule_names, written_rules
from orchestration.graph_runs import STARTED_BY_TAG, due_parts, newest
from orchestration.jobs import release_job, shared_job, variant_job
from orchestration.resources import GRAPH_RUN_TAG
from orchestration.watch import Watched, made_rules, watch
from rbr.errors import RBRError
from rbr.settings import read_settings

# Starts of one state of the rules that end before anything was compiled: then someone must look.
MOST_STARTS = 2


def automation(
    root: Path, clock: Callable[[], float] = time.time
) -> tuple[list[dg.SensorDefinition], list[dg.ScheduleDefinition]]:
    """Sensors and schedules over the jobs ``shared``, ``variant`` and ``release``.

    Args:
        clock: seconds since the epoch.
    """

    @dg.sensor(
        job=shared_job,
        minimum_interval_seconds=5,
        description="Starts the graph when the meaning of rules/ has changed and the files have been"
        " left alone for a while; one graph run at a time. A comment starts nothing.",
    )
    def rules_changed(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        try:
            quiet = read_settings(root)[1].automation.quiet_seconds
            seen = watch(root / "rules", context.cursor, clock(), quiet)
        except RBRError as error:
            return dg.SensorResult(skip_reason=f"the rules cannot be used yet: {error}")
        if seen.hashes is None:
            return dg.SensorResult(skip_reason=seen.reason, cursor=seen.cursor)
        wanted = seen.hashes["digest"]
        last = newest(context.instance)
        if last and last.going_on:
            reason = f"{last.name} is going on: what changed meanwhile runs after it"
            return dg.SensorResult(skip_reason=reason, cursor=seen.cursor)
        made = made_rules(root)
        if made.get("digest") == wanted and (last is None or last.rules == wanted):
            reason = f"rules unchanged ({wanted[:12]})"
            return dg.SensorResult(skip_reason=reason, cursor=seen.cursor)
        # After which run: so a change, its taking back and the same change again are three keys, and
        # a tick that is evaluated twice is one.
        prefix = f"rules-{wanted[:16]}"
        if last and last.starts_without_rules(prefix) >= MOST_STARTS:
            reason = (
                f"{last.name} ended before the rules were compiled: see its run, and start it again"
            )
            return dg.SensorResult(skip_reason=reason, cursor=seen.cursor)
        key = f"{prefix}-after-{last.run_id[:8] if last else 'nothing'}"
        return _start(key, seen, made)

    @dg.sensor(
        jobs=[variant_job, release_job],
        minimum_interval_seconds=5,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Goes on with the variants and the release of a graph run that rules_changed or"
        " weekly started. Starts nothing by itself.",
    )
    def graph_goes_on(
        context: dg.SensorEvaluationContext,
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        last = newest(context.instance)
        if last is None:
            yield dg.SkipReason("no graph run was started by itself yet")
            return
        parts = due_parts(last.runs)
        if not parts:
            yield dg.SkipReason(f"{last.name}: nothing is due")
        for job, variant in parts:
            yield dg.RunRequest(
                run_key=f"{last.name}-{variant or job}",
                job_name=job,
                partition_key=variant,
                tags={GRAPH_RUN_TAG: last.name, STARTED_BY_TAG: last.started_by},
            )

    @dg.schedule(
        job=shared_job,
        cron_schedule="0 3 * * 1",
        description="Mondays at three: what changed is made again, the rest is given back.",
    )
    def weekly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        last = newest(context.instance)
        if last and last.going_on:
            return dg.SkipReason(f"{last.name} is going on: it looks at everything anyway")
        key = f"weekly-{context.scheduled_execution_time:%Y-%m-%d}"
        return dg.RunRequest(run_key=key, tags={GRAPH_RUN_TAG: key, STARTED_BY_TAG: "weekly"})

    return [rules_changed, graph_goes_on], [weekly]


def _start(key: str, seen: Watched, made: dict[str, str]) -> dg.SensorResult:
    """A run, and an observation of each rule that is another than the one made."""
    versions = {name: value for name, value in (seen.hashes or {}).items() if name != "digest"}
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(run_key=key, tags={GRAPH_RUN_TAG: key, STARTED_BY_TAG: "rules_changed"})
        ],
        cursor=seen.cursor,
        dynamic_partitions_requests=[rule_names.build_add_request(sorted(versions))],
        asset_events=[
            dg.AssetObservation(
                asset_key=written_rules.key,
                partition=name,
                tags={"dagster/data_version": version},
            )
            for name, version in versions.items()
            if made.get(name) != version
        ],
    )
