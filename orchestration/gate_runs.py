"""Run an artifact's suite with Great Expectations; results are kept as its data docs under ``gx/``."""

from __future__ import annotations

import json
import logging
import math
import os
from dataclasses import asdict, dataclass, field, replace
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from orchestration.turns import turn
from pipeline.gates import LIMITS
from rbr.files import write_json

if TYPE_CHECKING:
    from pipeline.context import Context
    from pipeline.gates import Part

DOCS = Path("gx") / "uncommitted" / "data_docs" / "local_site"


@dataclass(frozen=True)
class GateOutcome:
    """The outcome of a gate, and of the alarm beside it: a row for each expectation.

    Attributes:
        passed: whether the gate passed, whatever the alarm says.
        rows: ``alarm`` (whether it only warns), ``part``, ``what`` (column and limit), ``limit``, ``found``,
            ``value`` (a number, where one row was checked), ``passed``, ``note``.
        docs: page of the data docs, relative to the root.
    """

    passed: bool
    rows: list[dict[str, Any]] = field(default_factory=list)
    docs: str = ""

    @property
    def failures(self) -> list[str]:
        """What failed of the gate and why it matters, one line each."""
        return [
            f"{row['part']}: {row['what']} ({row['found']})"
            + (f": {row['note']}" if row["note"] else "")
            for row in self.rows
            if not (row["passed"] or row.get("alarm"))
        ]

    def only(self, alarm: bool) -> GateOutcome:
        """The outcome of the alarm alone, as if it were a gate, or of the gate alone."""
        rows = [{**row, "alarm": False} for row in self.rows if row.get("alarm", False) == alarm]
        return GateOutcome(all(row["passed"] for row in rows), rows, self.docs)


def _column(config: Any) -> str:
    """The column that an expectation is about, or several."""
    return str(config.kwargs.get("column") or "+".join(config.kwargs.get("column_list", [])))


def _limit(config: Any) -> str:
    """What an expectation asks of the column: limits, a set, or its name."""
    wanted = config.kwargs
    if config.type == "expect_column_values_to_be_between":
        low, high = wanted.get("min_value"), wanted.get("max_value")
        limits = [f"{sign} {v:g}" for sign, v in ((">=", low), ("<=", high)) if v is not None]
        return " and ".join(limits)
    if config.type == "expect_column_values_to_be_in_set":
        return f"in {', '.join(map(str, wanted['value_set']))}"
    return str(config.type.removeprefix("expect_").replace("_", " "))


def _what(config: Any) -> str:
    """An expectation in a few words: column, and the limits or the set."""
    separator = " " if config.type in LIMITS else ": "
    return f"{_column(config)}{separator}{_limit(config)}"


def _value(config: Any, part: Part) -> float | None:
    """The number that was checked, where a part has one row."""
    column = config.kwargs.get("column")
    if len(part.frame) != 1 or column not in part.frame:
        return None
    value = part.frame[column].iloc[0]
    known = isinstance(value, Real) and math.isfinite(value)
    return float(value) if known else None


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
    """Check an artifact with its gate and alarm; an expectation that cannot be evaluated has failed."""
    artifact = context.artifact
    assert artifact.gate is not None
    parts = [(part, False) for part in artifact.gate(context)]
    if artifact.alarm:
        parts += [(part, True) for part in artifact.alarm(context)]
    # Great Expectations reads and rewrites one project file.
    with turn(context.root, "gates"):
        return _evaluate(context, parts)


def _evaluate(context: Context, parts: list[tuple[Part, bool]]) -> GateOutcome:
    import great_expectations as gx

    project = _context(context.root)
    source = project.data_sources.add_or_update_pandas("artifacts")
    name = context.artifact.stage
    rows: list[dict[str, Any]] = []
    pages: dict[Any, bool] = {}  # of the data docs: does it show that all is well?
    for given, alarm in parts:
        # A frame that was cut out of another has its row numbers; a row is named by its position.
        part = replace(given, frame=given.frame.reset_index(drop=True))
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
                result_format="SUMMARY",
            )
        )
        outcome = checkpoint.run(batch_parameters={"dataframe": part.frame})
        for page, validation in outcome.run_results.items():
            pages[page] = bool(validation.success)
            for result in validation.results:
                config = result.expectation_config
                rows.append(
                    {
                        "alarm": alarm,
                        "part": part.name,
                        "what": _what(config),
                        "limit": _limit(config),
                        "value": _value(config, part),
                        "found": _found(result, part),
                        "passed": bool(result.success),
                        "note": str(config.notes or ""),
                    }
                )
    project.build_data_docs(resource_identifiers=list(pages))
    # The first that shows a failure; each leads to the others by the site's index.
    shown = min(pages, key=lambda page: pages[page])
    [site] = project.get_docs_sites_urls(resource_identifier=shown)
    docs = Path(unquote(urlsplit(site["site_url"]).path)).resolve()
    passed = all(row["passed"] or row["alarm"] for row in rows)
    return GateOutcome(passed, rows, str(docs.relative_to(context.root.resolve())))


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
