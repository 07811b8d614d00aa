"""The written rules, checked and compiled into one canonical file a section.

Comments and layout do not reach the compiled files, so that editing them makes nothing stale.
"""

from __future__ import annotations

from rbr.files import write_json
from rbr.rules import load_rules
from rbr.rules.check import check_rules
from rbr.rules.compiled import write_compiled
from rbr.steps.context import Context


def run(context: Context) -> dict[str, float]:
    errors = check_rules(context.root / "rules")
    if errors:
        raise errors[0]
    rules = load_rules(context.root / "rules")
    with context.output("rules") as folder:
        write_compiled(folder, rules, context.settings.grader.engine)
        metrics = {
            "propositions": float(len(rules.proposition_names)),
            "response_types": float(len(rules.response_types)),
        }
        write_json(folder / "metrics.json", metrics)
    return metrics
