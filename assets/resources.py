"""What an asset occupies: its concurrency pool, and what its pod asks of a Kubernetes node.

A pool's limit is the instance's (``concurrency`` in ``dagster.yaml``, or ``dagster instance concurrency
set grader 1``); without one a pool holds nothing back. The requests count where each step has a pod
(``scale.kubernetes``); elsewhere Dagster ignores them.
"""

from __future__ import annotations

from typing import Any

POOLS: dict[str, tuple[str, ...]] = {
    "grader": ("grader", "grader_accuracy", "synthetic_comparisons", "graded_comparisons"),
    "training": ("helpful_reward_model", "human_reward_model", "sft_checkpoint", "ppo_checkpoint"),
    "gpu": ("human_fitted_weights", "judge", "baseline_eval", "safety_eval", "capability_eval"),
}
GPU = "nvidia.com/gpu"
# For an 8B policy.
REQUESTS: dict[str | None, dict[str, str]] = {
    "grader": {"cpu": "8", "memory": "64Gi", GPU: "4"},
    "training": {"cpu": "16", "memory": "128Gi", GPU: "8"},
    "gpu": {"cpu": "8", "memory": "64Gi", GPU: "1"},
    None: {"cpu": "1", "memory": "4Gi"},
}


def pool_of(name: str) -> str | None:
    """The pool of an asset; None for those that occupy next to nothing."""
    return next((pool for pool, names in POOLS.items() if name in names), None)


def pod_tags(name: str) -> dict[str, Any]:
    """The tag by which dagster-k8s gives an asset's pod its resources."""
    requests = REQUESTS[pool_of(name)]
    # Kubernetes asks a limit of what is not shared; memory beyond the request ends the pod.
    limits = {key: value for key, value in requests.items() if key in ("memory", GPU)}
    resources = {"requests": requests, "limits": limits}
    return {"dagster-k8s/config": {"container_config": {"resources": resources}}}
