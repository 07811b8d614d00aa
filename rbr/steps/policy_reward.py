"""What a variant's policy is trained against, by the SHA-256 of each part.

PPO depends on this artifact and not on the parts: so new weights train the rule-based variant again and
leave the variants alone that are trained against a reward model.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from rbr.files import write_json
from rbr.settings import Variant
from rbr.steps.context import Context

# Artifacts that a variant's reward reads.
ARTIFACTS: dict[Variant, tuple[str, ...]] = {
    "helpful": ("helpful_reward_model",),
    "human": ("human_reward_model",),
    "rbr": ("helpful_reward_model", "grader", "base_model", "fitted_weights"),
}
# Sections of the compiled rules that the rule-based reward reads beside its weights.
SECTIONS = ("propositions", "classes", "features")
# What stands beside an artifact for people to look at.
_SHOWN = {".png", ".md", ".jsonl"}


def parts(context: Context) -> dict[str, str]:
    """Digest of each part of the context's variant."""
    assert context.variant
    found = {name: digest(context.path(name)) for name in ARTIFACTS[context.variant]}
    if context.variant == "rbr":
        for section in SECTIONS:
            path = context.path("rules") / f"{section}.json"
            found[f"rules/{section}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def digest(folder: Path) -> str:
    """SHA-256 over the names and contents of a folder's files, without metrics and pictures."""
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in _SHOWN or path.name in ("metrics.json", "report.json"):
            continue
        with path.open("rb") as file:
            total.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def run(context: Context) -> dict[str, float]:
    found = parts(context)
    metrics = {"parts": float(len(found))}
    with context.output("policy_reward") as folder:
        write_json(folder / "parts.json", found)
        write_json(folder / "metrics.json", metrics)
    return metrics
