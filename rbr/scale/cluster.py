"""Connecting to a Ray cluster. Ray is imported only where an address is given."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from rbr.errors import RBRError

if TYPE_CHECKING:
    from rbr.scale.options import ClusterOptions

LOCAL = "local"
# Read by Ray as it is imported. The last one makes Ray take loopback for its own address, so that
# nothing listens on the machine's other addresses (its name mentions the systems that need it most).
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
}
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


def connect(scale: ClusterOptions) -> Any:
    """The module ``ray``, connected to ``scale.address``; once a process.

    ``local`` starts a cluster of this machine alone: on loopback, without a dashboard, stopped as the
    process ends.

    Raises:
        RBRError: if Ray is not installed or the cluster cannot be reached.
    """
    address = scale.address or LOCAL
    here = address == LOCAL or address.startswith(("127.", "localhost"))
    for name, value in (QUIET | LOOPBACK if here else QUIET).items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise RBRError("scale.address needs Ray: pip install '.[scale]'") from error
    if ray.is_initialized():
        return ray
    options: dict[str, Any] = {"_node_ip_address": "127.0.0.1"} if here else {}
    if address == LOCAL:
        options |= {
            "include_dashboard": False,
            "num_cpus": max(1, round(scale.workers * scale.cpus)),
            "object_store_memory": scale.object_store_mb * 2**20,
        }
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.WARNING, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise RBRError(
            f"scale.address: no Ray cluster answers at '{address}' ({error}): start one with"
            " `ray start --head`, or leave the address out"
        ) from error
    return ray
