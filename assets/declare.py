"""What every asset declares, taken from the one description of the graph."""

from __future__ import annotations

from typing import Any

import dagster as dg

from assets.resources import pod_tags, pool_of
from rbr.settings import VARIANTS
from rbr.steps import STEPS

variants = dg.StaticPartitionsDefinition(list(VARIANTS))


def declare(name: str, *sources: str) -> dict[str, Any]:
    """Arguments of ``@dg.asset`` for a step: key, dependencies, group, kinds, partitions, its gate.

    Args:
        sources: observed assets that it depends on too.
    """
    step = STEPS[name]
    return {
        "name": name,
        "description": step.description,
        "group_name": step.group,
        "kinds": set(step.kinds) | {"dvc"},
        "owners": ["team:safety"],
        "deps": [*step.needs, *sources],
        "partitions_def": variants if step.variants else None,
        "check_specs": [
            dg.AssetCheckSpec(
                name="gate",
                asset=name,
                blocking=True,
                description="Great Expectations suite; nothing after it runs unless it passes.",
            )
        ]
        if step.gate
        else None,
        "required_resource_keys": {"pipeline"},
        "pool": pool_of(name),
        "op_tags": pod_tags(name),
    }
