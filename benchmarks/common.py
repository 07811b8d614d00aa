"""What the benchmarks share: models, rows, workspaces, tokens, a clock."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.context import Context
    from rbr.data.rows import Labelled
    from rbr.grading.head import HeadGrader

# rbr is imported where it is used: a peer runs beside other libraries than ours.
ROOT = Path(__file__).resolve().parents[1]


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the first line of a benchmark's docstring."""
    return argparse.ArgumentParser(description=(doc or "").splitlines()[0])


def seconds(work: Callable[[], Any]) -> float:
    """Wall seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def run_apart(
    *command: str, python: Path | str = sys.executable, environment: Mapping[str, str] | None = None
) -> Any:
    """Run ``python -m command ...`` in a process of its own; returns the JSON in its last line.

    Raises:
        SystemExit: with the end of its output, if it fails.
    """
    done = subprocess.run(
        [str(python), "-m", *command],
        text=True,
        capture_output=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def model_folder(name: str) -> Path:
    """The folder of a model: ``tiny`` or an embedded one, made once; any other name is a folder itself."""
    from rbr.models.fetch import EMBEDDED, fetch
    from rbr.models.tiny import make_tiny

    folder = ROOT / ".cache" / "models" / name
    if name == "tiny" and not folder.exists():
        make_tiny(folder, [f"number {i}" for i in range(500)])
    if name in EMBEDDED and not folder.exists():
        fetch(name, folder)
    return folder if folder.exists() else Path(name)


def open_context(root: Path, key: str) -> Context:
    """What the body of an artifact is given, in a workspace where the graph has run."""
    from assets import graph_of
    from pipeline.context import Context
    from pipeline.profile import read_settings

    settings = read_settings(root)[1]
    artifacts = graph_of(settings)
    return Context(root.resolve(), settings, artifacts[key], artifacts)


def longest_gold(count: int) -> list[Labelled]:
    """The longest gold rows: those whose prefix is worth sharing."""
    from rbr.data.rows import Labelled
    from rbr.files import read_rows

    def length(row: Labelled) -> int:
        return sum(len(m.content) for m in row.conversation) + len(row.completion)

    rows = read_rows(ROOT / "data" / "source" / "gold", Labelled)
    return sorted(rows, key=length, reverse=True)[:count]


def texts_of(rows: Sequence[Any]) -> tuple[list[Any], list[str]]:
    """Conversations and completions of rows."""
    return [row.conversation for row in rows], [row.completion for row in rows]


def random_head(model: Path, folder: Path) -> HeadGrader:
    """A head grader of the laptop profile's shape: the model's lower layers, random heads."""
    import numpy as np

    from pipeline.profile import read_settings
    from rbr.grading.encoder import POOLED, first_layers
    from rbr.grading.head import HeadGrader, Heads
    from rbr.models.load import load_encoder
    from rbr.rules.rules import load_rules

    layers = read_settings(ROOT, "laptop")[1].grader.tuning.layers
    backbone = first_layers(load_encoder(model), layers)
    backbone.save_pretrained(folder / "backbone")
    names = load_rules(ROOT / "rules").proposition_names
    shape = len(names), POOLED * backbone.config.hidden_size
    zeros = np.zeros(len(names))
    weight = np.random.default_rng(0).normal(size=shape)
    Heads(names, weight, zeros, zeros + 1, zeros, zeros + 0.5).save(folder, {})
    return HeadGrader(folder, model, batch_size=8)


class Tokens:
    """Counts tokens by the tokenizer of a model's folder."""

    def __init__(self, model: Path) -> None:
        self.model = model

    @cached_property
    def tokenizer(self) -> Any:
        from rbr.models.load import load_tokenizer

        return load_tokenizer(self.model)

    def texts(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text."""
        return [len(ids) for ids in self.tokenizer(texts, add_special_tokens=False)["input_ids"]]

    def prompts(self, conversations: Sequence[Any]) -> list[int]:
        """Tokens of each conversation in the chat template, up to the answer."""
        from rbr.models.load import chat_texts

        return self.texts(chat_texts(self.tokenizer, conversations))

    def both(self, conversations: Sequence[Any], completions: Sequence[str]) -> int:
        """Tokens of all conversations and completions."""
        return sum(self.prompts(conversations)) + sum(self.texts(completions))

    def pairs(self, conversations: Sequence[Any], completions: Sequence[str]) -> list[int]:
        """Tokens that heads on the model read of each conversation and completion."""
        from rbr.grading.encoder import PairTokenizer

        pairs = PairTokenizer(self.tokenizer)(conversations, completions)
        return [len(pair.ids) for pair in pairs]
