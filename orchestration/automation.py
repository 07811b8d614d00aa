"""Retraining without a person: when a rule changes, and once a week. Both are off until switched on.

The sensor ``rules_changed`` observes ``rules/``; Dagster's declarative automation then requests the
asset ``rules`` and, in the same run, everything downstream of it. What its change does not reach is
restored, not made again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg

from orchestration.dagster_assets import RULE_PARTITIONS, WRITTEN_RULES
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
    " observes the rules, it starts nothing.",
)


def rules_sensor(root: Path, clock: Callable[[], float] = time.time) -> dg.SensorDefinition:
    """The sensor that observes the rules.

    Args:
        clock: seconds since the epoch.
    """

    @dg.sensor(
        name="rules_changed",
        minimum_interval_seconds=5,
        description="Observes rules/ once the files have been left alone for a while and can be used."
        " A comment changes nothing.",
    )
    def rules_changed(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        former, _, observed = (context.cursor or "").partition(" ")
        try:
            quiet = read_settings(root)[1].automation.quiet_seconds
            seen = watch(root / "rules", former, clock(), quiet)
        except RBRError as error:
            return dg.SensorResult(skip_reason=f"the rules cannot be used yet: {error}")
        if seen.hashes is None:
            return dg.SensorResult(skip_reason=seen.reason, cursor=f"{seen.cursor} {observed}")
        digest = seen.hashes["digest"]
        made = made_rules(root)
        if digest == (observed or made.get("digest")):
            reason = f"rules unchanged ({digest[:12]})"
            return dg.SensorResult(skip_reason=reason, cursor=f"{seen.cursor} {digest}")
        versions = {name: value for name, value in seen.hashes.items() if name != "digest"}
        return dg.SensorResult(
            cursor=f"{seen.cursor} {digest}",
            dynamic_partitions_requests=[RULE_PARTITIONS.build_add_request(sorted(versions))],
            asset_events=[
                dg.AssetObservation(
                    asset_key=WRITTEN_RULES,
                    partition=name,
                    tags={"dagster/data_version": version},
                )
                for name, version in versions.items()
                if observed or made.get(name) != version
            ],
        )

    return rules_changed


def weekly_schedule(job: str) -> dg.ScheduleDefinition:
    """Everything, once a week: what is unchanged is restored."""
    return dg.ScheduleDefinition(
        name="weekly",
        job_name=job,
        cron_schedule="0 3 * * 1",
        description="Mondays at three: makes again what changed, restores the rest.",
    )
