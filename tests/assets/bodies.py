"""Calling an artifact's body as a materialization does, without DVC and MLflow."""

from __future__ import annotations

from pathlib import Path

from assets import graph_of
from pipeline.context import Context
from pipeline.profile import Settings
from rbr.files import replacing, write_json
from rbr.rules import Rules
from rbr.rules.compiled import write_compiled


def context_of(root: Path, key: str, settings: Settings | None = None) -> Context:
    """What the artifact's body is given."""
    settings = settings or Settings()
    artifacts = graph_of(settings)
    return Context(root, settings, artifacts[key], artifacts)


def make(context: Context) -> dict[str, float]:
    """Make the artifact; returns its metrics."""
    with replacing(context.folder) as output:
        output.mkdir(parents=True)
        metrics = dict(context.artifact.body(context, output))
        write_json(output / "metrics.json", metrics)
    return metrics


def compile_rules(root: Path, rules: Rules) -> None:
    """Put the artifact ``rules`` under a root."""
    (root / "data" / "rules").mkdir(parents=True, exist_ok=True)
    write_compiled(root / "data" / "rules", rules, "head")
