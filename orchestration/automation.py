"""Retraining without a person: when a rule changes, and once a week. Both are off until switched on.

The sensor ``rules_changed`` reports what changed in ``rules/``; Dagster's declarative automation then
requests the asset ``rules`` and, in the same run, everything downstream of it. What the change does not
reach is restored, not made again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg

from orchestration.dagster_assets import RELEASE, RULE_PARTITIONS, WRITTEN_RULES
from orchestration.watch import made_rules, watch
from pipeline.profile import read_settings
from rbr.errors import RBRError

written_rules = dg.AssetSpec(
    WRITTEN_RULES,
    description="What people write under rules/. A partition is a rule; its data version is the digest"
    " of what the rule means, so that a comment makes no other one.",
    partitions_def=RULE_PARTITIONS,
    group_name="policy",
    kinds={"yaml"},
    owners=["team:safety"],
)
automation_sensor = dg.AutomationConditionSensorDefinition(
    "rule_automation",
    target=dg.AssetSelection.all(),
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Materializes what a changed rule reaches, in one run. Without rules_changed, which"
    " reports the changes, it starts nothing.",
)


def rules_sensor(root: Path, clock: Callable[[], float] = time.time) -> dg.SensorDefinition:
    """The sensor that reports changes of the rules.

    Args:
        clock: seconds since the epoch.
    """

    @dg.sensor(
        name="rules_changed",
        minimum_interval_seconds=5,
        description="Reports what changed in rules/ once the files have been left alone for a while and"
        " can be used. A comment changes nothing.",
    )
    def rules_changed(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        looked, _, reported = (context.cursor or "").partition(" ")
        try:
            quiet = read_settings(root)[1].automation.quiet_seconds
            seen = watch(root / "rules", looked, clock(), quiet)
        except RBRError as error:
            return dg.SensorResult(skip_reason=f"the rules cannot be used yet: {error}")
        if seen.hashes is None:
            return dg.SensorResult(skip_reason=seen.reason, cursor=f"{seen.cursor} {reported}")
        made = made_rules(root)
        if seen.hashes["digest"] == made.get("digest"):
            reason = f"rules unchanged ({seen.hashes['digest'][:12]})"
            return dg.SensorResult(skip_reason=reason, cursor=f"{seen.cursor} ")
        change = f"{made.get('digest')}>{seen.hashes['digest']}"
        cursor = f"{seen.cursor} {change}"
        if change == reported:
            reason = (
                "reported; if its run failed, mend the cause and start it again, or edit the rules"
            )
            return dg.SensorResult(skip_reason=reason, cursor=cursor)
        changed = {name: v for name, v in seen.hashes.items() if made.get(name) != v}
        del changed["digest"]
        return dg.SensorResult(
            cursor=cursor,
            dynamic_partitions_requests=[RULE_PARTITIONS.build_add_request(sorted(changed))],
            asset_events=[
                dg.AssetMaterialization(
                    WRITTEN_RULES, partition=name, tags={"dagster/data_version": version}
                )
                for name, version in changed.items()
            ],
        )

    return rules_changed


def weekly_schedule(job: str) -> dg.ScheduleDefinition:
    """Everything, once a week, unless it is being made already: what is unchanged is restored."""

    @dg.schedule(
        name="weekly",
        job_name=job,
        cron_schedule="0 3 * * 1",
        description="Mondays at three: makes again what changed, restores the rest.",
    )
    def weekly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if release_in_progress(context.instance):
            return dg.SkipReason("a run of the whole graph is in progress")
        return dg.RunRequest()

    return weekly


def release_in_progress(instance: dg.DagsterInstance) -> bool:
    """Whether an unfinished run is to make the release."""
    planned = instance.get_latest_planned_materialization_info(RELEASE)
    run = instance.get_run_by_id(planned.run_id) if planned else None
    return run is not None and not run.is_finished
