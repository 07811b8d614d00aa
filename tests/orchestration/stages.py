"""Which stages there are, and which of them a graph run made."""

import dagster as dg

from pipeline.profile import VARIANTS
from rbr.steps import STEPS

EVERY_STAGE = {
    f"{name}@{variant}" if variant else name
    for name, step in STEPS.items()
    for variant in (VARIANTS if step.variants else (None,))
}


def outcomes(instance: dg.DagsterInstance, graph_run: str) -> dict[str, bool]:
    """Of each stage of a graph run: was it given back?"""
    found = {}
    for run in instance.get_runs(dg.RunsFilter(tags={"rbr/graph_run": graph_run})):
        records = instance.get_records_for_run(
            run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
        ).records
        for record in records:
            made = record.event_log_entry.asset_materialization
            name = made.asset_key.to_user_string()
            stage = f"{name}@{made.partition}" if made.partition else name
            found[stage] = made.metadata["reused"].value
    return found
