"""A tiny model, and a grader of drawn heads on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rbr.data.rows import Message
from rbr.grading.encoder import POOLED, first_layers
from rbr.grading.head import HeadGrader, Heads
from rbr.models.load import load_encoder
from rbr.models.tiny import make_tiny


@pytest.fixture(scope="session")
def tiny_model(root, tmp_path_factory) -> Path:
    texts = [path.read_text() for path in sorted((root / "rules/propositions").glob("*.yaml"))]
    return make_tiny(tmp_path_factory.mktemp("tiny_model") / "model", texts)


@pytest.fixture(scope="session")
def head(rules, tiny_model, tmp_path_factory) -> Path:
    """Drawn heads, saved as the ``grader`` artifact saves them."""
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
    conversations = [
        (Message(role="user", content=f"Question {i % 50}: {' '.join(draw.choice(words, 6))}?"),)
        for i in range(2000)
    ]
    texts = [f"{i} {' '.join(draw.choice(words, draw.integers(2, 20)))}" for i in range(2000)]
    return conversations, texts
