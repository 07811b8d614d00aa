"""Retraining without a person: when a rule changes, and once a week. Both are off until switched on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from orchestration.resources import GRAPH_RUN_TAG
from rbr.errors import RBRError
from rbr.rules import load_rules
from rbr.settings import VARIANTS

NEXT = {"shared": "variant", "variant": "release"}


def automation(root: Path) -> tuple[list[dg.SensorDefinition], list[dg.ScheduleDefinition]]:
    """Sensors and schedules over the jobs ``shared``, ``variant`` and ``release``."""

    @dg.sensor(
        job_name="shared",
        minimum_interval_seconds=30,
        description="Starts the graph when the meaning of rules/ changes; a comment starts nothing.",
    )
    def rules_changed(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        try:
            digest = load_rules(root / "rules").digest
        except RBRError as error:
            return dg.SkipReason(f"the rules cannot be used yet: {error}")
        count, _, former = (context.cursor or "0:").partition(":")
        if digest == former:
            return dg.SkipReason(f"rules unchanged ({digest})")
        # Counted, since a rule may be changed and changed back: Dagster runs a key only once.
        key = f"rules-{digest}-{int(count) + 1}"
        context.update_cursor(f"{int(count) + 1}:{digest}")
        return dg.RunRequest(run_key=key, tags={GRAPH_RUN_TAG: key})

    @dg.run_status_sensor(
        run_status=dg.DagsterRunStatus.SUCCESS,
        minimum_interval_seconds=15,
        request_jobs=None,
        monitor_all_code_locations=False,
        description="Goes on with the variants after the shared part, and with the release after them.",
    )
    def graph_goes_on(
        context: dg.RunStatusSensorContext,
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        run = context.dagster_run
        graph_run = run.tags.get(GRAPH_RUN_TAG)
        if graph_run is None or run.job_name not in NEXT:
            yield dg.SkipReason("not a part of a whole graph run")
            return
        tags = {GRAPH_RUN_TAG: graph_run}
        if run.job_name == "shared":
            for variant in VARIANTS:
                yield dg.RunRequest(
                    run_key=f"{graph_run}-{variant}",
                    job_name="variant",
                    partition_key=variant,
                    tags=tags,
                )
            return
        done = context.instance.get_runs(
            dg.RunsFilter(job_name="variant", tags=tags, statuses=[dg.DagsterRunStatus.SUCCESS])
        )
        if {own.tags.get("dagster/partition") for own in done} >= set(VARIANTS):
            yield dg.RunRequest(run_key=f"{graph_run}-release", job_name="release", tags=tags)
        else:
            yield dg.SkipReason("other variants are not done yet")

    @dg.schedule(
        job_name="shared",
        cron_schedule="0 3 * * 1",
        description="Mondays at three: what changed is made again, the rest is given back.",
    )
    def weekly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        key = f"weekly-{context.scheduled_execution_time:%Y-%m-%d}"
        return dg.RunRequest(run_key=key, tags={GRAPH_RUN_TAG: key})

    return [rules_changed, graph_goes_on], [weekly]
