"""A Ray cluster of nodes with one core each, on loopback, and heads on the tiny model."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from rbr.data.rows import Message
from rbr.grading.encoder import POOLED, first_layers
from rbr.grading.head import HeadGrader
from rbr.grading.heads import Heads
from rbr.models.load import load_encoder
from rbr.models.tiny import make_tiny
from rbr.scale.cluster import LOOPBACK, QUIET
from rbr.settings import Scale

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
    """Settings that name the cluster, with so many workers."""
    return lambda workers: Scale(address=nodes.address, workers=workers)


@pytest.fixture(scope="session")
def tiny_model(root, tmp_path_factory) -> Path:
    texts = [path.read_text() for path in sorted((root / "rules/propositions").glob("*.yaml"))]
    return make_tiny(tmp_path_factory.mktemp("scale") / "model", texts)


@pytest.fixture(scope="session")
def head(rules, tiny_model, tmp_path_factory) -> Path:
    """Drawn heads in the form that the ``grader`` step saves."""
    folder = tmp_path_factory.mktemp("head")
    first_layers(load_encoder(tiny_model), 2).save_pretrained(folder / "backbone")
    names = rules.proposition_names
    width, flat, draw = POOLED * 64, np.zeros(len(names)), np.random.default_rng(0)
    weight = draw.normal(size=(len(names), width))
    Heads(names, weight, flat, flat + 1, flat, flat + 0.5).save(folder, {})
    return folder


@pytest.fixture(scope="session")
def head_grader(head, tiny_model):
    return HeadGrader(head, tiny_model)


@pytest.fixture(scope="session")
def answers():
    """2,000 conversations and as many different answers."""
    words = [
        "lock",
        "door",
        "key",
        "sorry",
        "cannot",
        "help",
        "sure",
        "here",
        "is",
        "what",
        "you",
        "asked",
        "for",
        "today",
    ]
    draw = np.random.default_rng(1)
    talks = [
        (Message(role="user", content=f"Question {i % 50}: {' '.join(draw.choice(words, 6))}?"),)
        for i in range(2000)
    ]
    texts = [f"{i} {' '.join(draw.choice(words, draw.integers(2, 20)))}" for i in range(2000)]
    return talks, texts
