"""Which artifacts there are, and which of them a graph run made."""

from pathlib import Path

import dagster as dg

from assets import graph
from pipeline.profile import read_settings
from pipeline.variants import VARIANTS

# Of all variants, as the smoke profile makes them; and of the variants that the project's own profile names.
GRAPH = graph(tuple(VARIANTS))
EVERY_KEY = set(GRAPH)
PROJECT_GRAPH = graph(read_settings(Path(__file__).parents[2])[1].variants)


def outcomes(instance: dg.DagsterInstance, graph_run: str) -> dict[str, bool]:
    """Of each artifact of a graph run: was it restored?"""
    found = {}
    for run in instance.get_runs(dg.RunsFilter(tags={"rbr/graph_run": graph_run})):
        records = instance.get_records_for_run(
            run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
        ).records
        for record in records:
            made = record.event_log_entry.asset_materialization
            found[made.asset_key.to_user_string()] = made.metadata["reused"].value
    return found
