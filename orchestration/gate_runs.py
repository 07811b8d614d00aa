"""Run an artifact's suite with Great Expectations; results are kept as its data docs under ``gx/``."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbr.files import write_json

if TYPE_CHECKING:
    from pipeline.context import Context
    from pipeline.gates import Part

DOCS = Path("gx") / "uncommitted" / "data_docs" / "local_site"


@dataclass(frozen=True)
class GateOutcome:
    """The outcome of a gate: each expectation as a row (part, what, found, passed, note)."""

    passed: bool
    rows: list[dict[str, Any]] = field(default_factory=list)
    docs: str = ""

    @property
    def failures(self) -> list[str]:
        """What failed and why it matters, one line each."""
        return [
            f"{row['part']}: {row['what']} ({row['found']})"
            + (f": {row['note']}" if row["note"] else "")
            for row in self.rows
            if not row["passed"]
        ]

    def markdown(self) -> str:
        """The expectations as a table."""
        lines = ["| | part | expected | found | why |", "| --- | --- | --- | --- | --- |"]
        for row in self.rows:
            mark = "✓" if row["passed"] else "✗"
            cells = (row["part"], row["what"], row["found"], row["note"])
            lines.append(f"| {mark} | " + " | ".join(str(cell) for cell in cells) + " |")
        return "\n".join(lines)


def _what(config: Any) -> str:
    """An expectation in a few words: column, and the limits or the set."""
    wanted = config.kwargs
    name = config.type.removeprefix("expect_").replace("_", " ")
    column = wanted.get("column") or "+".join(wanted.get("column_list", []))
    if config.type == "expect_column_values_to_be_between":
        low, high = wanted.get("min_value"), wanted.get("max_value")
        limits = [f"{sign} {v:g}" for sign, v in ((">=", low), ("<=", high)) if v is not None]
        return f"{column} {' and '.join(limits)}"
    if config.type == "expect_column_values_to_be_in_set":
        return f"{column} in {', '.join(map(str, wanted['value_set']))}"
    return f"{column}: {name}"


def _found(result: Any, part: Part) -> str:
    """How many rows differ and the first of them; of one row, its value."""
    column = result.expectation_config.kwargs.get("column")
    if len(part.frame) == 1 and column in part.frame:
        value = part.frame[column].iloc[0]
        return f"{value:.4g}" if isinstance(value, float) else str(value)
    if "exception_message" in str(result.exception_info):
        text = str(result.exception_info)
        if "'raised_exception': True" in text:
            return f"not checked: {text[:200]}"
    wrong = result.result.get("unexpected_count")
    if not wrong:
        return f"{len(part.frame)} rows"
    first = result.result.get("partial_unexpected_list", [])[:2]
    where = result.result.get("partial_unexpected_index_list", [])[:1]
    named = ""
    for key in (
        "id",
        "metric",
        "proposition",
        "label",
        "response_type",
        "family",
        "prompt",
        "split",
    ):
        if where and key in part.frame and key != column:
            named = f", {key} {part.frame[key].iloc[where[0]]}"
            break
    return f"{wrong} of {len(part.frame)} rows, such as {first}{named}"[:300]


def _context(root: Path) -> Any:
    # Before the import: Great Expectations reads it then.
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    context = gx.get_context(mode="file", project_root_dir=root)
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    return context


def evaluate(context: Context) -> GateOutcome:
    """Check an artifact with its gate; an expectation that cannot be evaluated has failed."""
    import great_expectations as gx
    from great_expectations.checkpoint import UpdateDataDocsAction

    artifact = context.artifact
    assert artifact.gate is not None
    # A frame that was cut out of another has its row numbers; a row is named by its position.
    parts = [
        replace(part, frame=part.frame.reset_index(drop=True)) for part in artifact.gate(context)
    ]
    project = _context(context.root)
    source = project.data_sources.add_or_update_pandas("artifacts")
    name = artifact.stage
    rows: list[dict[str, Any]] = []
    for number, part in enumerate(parts, 1):
        title = f"{name}.{part.name}"
        batch = source.add_dataframe_asset(title).add_batch_definition_whole_dataframe("all")
        suite = project.suites.add_or_update(gx.ExpectationSuite(title, expectations=part.checked))
        definition = project.validation_definitions.add_or_update(
            gx.ValidationDefinition(name=title, data=batch, suite=suite)
        )
        checkpoint = project.checkpoints.add_or_update(
            gx.Checkpoint(
                name=title,
                validation_definitions=[definition],
                actions=[UpdateDataDocsAction(name="data docs")] if number == len(parts) else [],
                result_format="SUMMARY",
            )
        )
        outcome = checkpoint.run(batch_parameters={"dataframe": part.frame})
        for validation in outcome.run_results.values():
            for result in validation.results:
                rows.append(
                    {
                        "part": part.name,
                        "what": _what(result.expectation_config),
                        "found": _found(result, part),
                        "passed": bool(result.success),
                        "note": str(result.expectation_config.notes or ""),
                    }
                )
    return GateOutcome(all(row["passed"] for row in rows), rows, str(DOCS / "index.html"))


def stored(root: Path, stage: str, version: str) -> GateOutcome | None:
    """The kept outcome of an artifact's gate, if it was for this data version."""
    path = root / ".cache" / "gates" / f"{stage}.json"
    if not path.exists():
        return None
    kept = json.loads(path.read_text())
    return GateOutcome(**kept["gate"]) if kept["version"] == version else None


def store(root: Path, stage: str, version: str, gate: GateOutcome) -> None:
    """Keep a gate's outcome beside the data version that it is for."""
    path = root / ".cache" / "gates" / f"{stage}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"version": version, "gate": asdict(gate)})
