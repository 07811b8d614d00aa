"""``dvc.yaml`` from the one description of the graph.

Run ``python -m orchestration.dvc_yaml`` after a change of ``rbr.steps.STEPS``; a test fails while
the file is not what this module renders.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from rbr.files import replacing
from rbr.settings import VARIANTS
from rbr.steps import STEPS

HEADER = "# Made by `python -m orchestration.dvc_yaml` from rbr.steps.STEPS: change that, not this file.\n"
KEY = "${key}"
PLOTS = {
    "grader_accuracy": "accuracy.png",
    "fitted_weights": "rewards.png",
    "model_release": "trade_off.png",
}


def folder(name: str, variant: str | None = None) -> str:
    """Folder of an artifact relative to the root; ``variant`` may be DVC's ``${key}``."""
    step = STEPS[name]
    return f"{step.folder}/{name}" + (f"/{variant}" if step.variants and variant else "")


def _deps(name: str, variant: str | None) -> list[str]:
    """What a stage reads, in order and without doubles."""
    step = STEPS[name]
    deps = [f"rbr/{module}" for module in (*step.code, f"steps/{name}.py")]
    deps += step.sources
    for need in step.needs_of(variant):
        if need == "rules":
            # Only the sections that matter: another section's change leaves this step alone.
            deps += [f"{folder('rules')}/{section}.json" for section in step.rules]
        elif STEPS[need].variants and not step.variants:
            deps += [folder(need, own) for own in VARIANTS]
        else:
            deps.append(folder(need, variant))
    return sorted(set(deps))


def stage(name: str) -> dict[str, Any]:
    """The stage of one step, with ``foreach`` where there is one artifact per variant."""
    step = STEPS[name]
    by_variant = [set(_deps(name, own)) for own in (VARIANTS if step.variants else (None,))]
    common = set.intersection(*by_variant)
    own = [sorted(deps - common) for deps in by_variant]
    # DVC wants as many dependencies of each variant: the shorter lists repeat one.
    slots = max(len(files) for files in own)
    filler = sorted(common)[:1]
    body: dict[str, Any] = {
        "cmd": f"python -m orchestration.stage {name}"
        + (f" --variant {KEY}" if step.variants else ""),
        "desc": step.description,
        "deps": [*sorted(common), *(f"${{item.own[{i}]}}" for i in range(slots))],
    }
    if step.settings:
        body["params"] = [{"profiles/${profile}.yaml": ["seed", *step.settings]}]
    body["outs"] = [folder(name, KEY)]
    if not step.variants:
        return body
    items = {
        variant: {"own": [*files, *filler * (slots - len(files))]}
        for variant, files in zip(VARIANTS, own, strict=True)
    }
    return {"foreach": items, "do": body}


def _metrics() -> list[str]:
    return [
        f"{folder(name, variant)}/metrics.json"
        for name, step in STEPS.items()
        for variant in (VARIANTS if step.variants else (None,))
    ]


def render() -> str:
    """The whole file as text."""
    content = {
        "stages": {name: stage(name) for name in STEPS},
        "metrics": _metrics(),
        "plots": [f"{folder(name)}/{plot}" for name, plot in PLOTS.items()],
    }
    return HEADER + yaml.safe_dump(content, sort_keys=False, width=100)


def write(root: Path) -> Path:
    """Write ``dvc.yaml`` under ``root``; returns its path."""
    with replacing(root / "dvc.yaml") as partial:
        partial.write_text(render(), encoding="utf-8")
    return root / "dvc.yaml"


if __name__ == "__main__":
    print(f"wrote {write(Path.cwd())}")
