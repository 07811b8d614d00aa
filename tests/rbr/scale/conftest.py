"""A Ray cluster of nodes with one core each, on loopback."""

from __future__ import annotations

import os

import pytest

from rbr.scale.cluster import LOOPBACK, QUIET
from rbr.scale.options import ClusterOptions

STORE = 80 * 2**20


class Nodes:
    """A head and further nodes that can be added and killed."""

    def __init__(self):
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(
            initialize_head=True, head_node_args={"include_dashboard": False, **self._node()}
        )

    @staticmethod
    def _node():
        return {"num_cpus": 1, "object_store_memory": STORE, "node_ip_address": "127.0.0.1"}

    @property
    def address(self):
        return self.cluster.address

    def add(self):
        node = self.cluster.add_node(**self._node())
        self.cluster.wait_for_nodes(timeout=120)
        return node

    def kill(self, node):
        self.cluster.remove_node(node, allow_graceful=False)


@pytest.fixture(scope="session")
def nodes():
    """Two nodes, the head one of them."""
    os.environ.update({**QUIET, **LOOPBACK})  # read as Ray is imported
    ray = pytest.importorskip("ray", reason="needs the extra scale: pip install '.[scale]'")
    own = Nodes()
    own.second = own.add()
    yield own
    ray.shutdown()
    own.cluster.shutdown()


@pytest.fixture
def scale(nodes):
    """Options that name the cluster, with so many workers."""
    return lambda workers: ClusterOptions(address=nodes.address, workers=workers)
