"""The written rules, checked and compiled into one canonical file a section.

Comments and layout do not reach the compiled files, so that editing them makes nothing stale.
"""

from __future__ import annotations

from rbr.files import write_json
from rbr.rules.check import check_rules
from rbr.steps.context import Context


def run(context: Context) -> dict[str, float]:
    errors = check_rules(context.root / "rules")
    if errors:
        raise errors[0]
    rules = context.rules
    with context.output("rules") as folder:
        for section, value in rules.sections().items():
            write_json(folder / f"{section}.json", value)
        write_json(folder / "hashes.json", {**rules.hashes(), "digest": rules.digest})
        metrics = {
            "propositions": float(len(rules.proposition_names)),
            "response_types": float(len(rules.response_types)),
        }
        write_json(folder / "metrics.json", metrics)
    return metrics
