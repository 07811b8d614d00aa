"""What Dagster shows of a materialization and its check: links, plots, numbers, intervals, expectations.

Dagster's page shows Markdown of under 1000 characters and tables at once, the rest behind a click; it
plots the history of numbers.
"""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import dagster as dg

from orchestration.gate_runs import DOCS
from orchestration.lineage.experiment import headline
from orchestration.links import PAGES, artifact_url, pages_url
from rbr.files import iter_json_lines

if TYPE_CHECKING:
    from orchestration.gate_runs import GateOutcome
    from orchestration.materialize import Made

ENDS = (".low", ".high")
# More than fit on a page: the rest is in the table.
NUMBERS = 12
TABLE_ROWS = 24
SAMPLES = 8
WIDTH = 480  # pixels that the column of values has


def of_materialization(made: Made, root: Path) -> dict[str, Any]:
    """The metadata of an artifact that was made or restored."""
    pages = pages_url(root)
    # What is not committed, DVC cannot serve.
    served = pages if made.gate is None or made.gate.passed else None
    shown: dict[str, Any] = {}
    if made.run_id:
        url = made.run_url
        shown["mlflow_run"] = dg.MetadataValue.url(url) if url else made.run_id
    if pages and made.gate:
        shown["data_docs"] = docs_link(pages, made.gate)
    for path in sorted(made.folder.glob("*.html")):
        shown[path.stem] = (
            dg.MetadataValue.url(artifact_url(served, made.data_version, path.name))
            if served
            else dg.MetadataValue.path(str(path))
        )
    for path in sorted(made.folder.glob("*.png")):
        url = artifact_url(served, made.data_version, path.name) if served else None
        shown[path.stem] = dg.MetadataValue.md(image(path.read_bytes(), path.stem, url))
    shown |= numbers(made.metrics)
    shown["metrics"] = metrics_table(made.metrics)
    if (made.folder / "samples.jsonl").is_file():
        shown["samples"] = samples_table(made.folder / "samples.jsonl")
    for path in sorted(made.folder.glob("*.md")):
        shown[path.stem] = dg.MetadataValue.md(path.read_text(encoding="utf-8"))
    return shown | {
        "dvc_hash": made.data_version,
        "reused": made.restored,
        "path": dg.MetadataValue.path(str(made.folder)),
    }


def of_check(gate: GateOutcome) -> dict[str, Any]:
    """The metadata of a gate's check: each expectation with its value and limit."""
    records = [
        {
            "passed": "✓" if row["passed"] else "✗",
            "expectation": f"{row['part']}: {_column(row)}",
            "value": row["found"],
            "limit": row.get("limit", row["what"]),
            "why": row["note"],
        }
        # What failed first.
        for row in sorted(gate.rows, key=lambda row: row["passed"])
    ]
    # By address where it is known to open: the materialization has the one of the next ``make ui``.
    served = os.environ.get(PAGES)
    shown: dict[str, Any] = {
        "expectations": table(records),
        "failed": "\n".join(gate.failures) or "none",
        "data_docs": docs_link(served, gate) if served else dg.MetadataValue.path(gate.docs),
        "failures": len(gate.failures),
    }
    values = {_column(row): row["value"] for row in gate.rows if row.get("value") is not None}
    return shown | dict(list(values.items())[:NUMBERS])


def _column(row: Mapping[str, Any]) -> str:
    """What an expectation is about: its text without the limit."""
    return str(row["what"].removesuffix(row.get("limit", "")).strip(" :"))


def docs_link(pages: str, gate: GateOutcome) -> dg.UrlMetadataValue:
    """The page of the data docs that shows a gate's outcome."""
    return dg.MetadataValue.url(
        f"{pages}/data-docs/{quote(str(Path(gate.docs).relative_to(DOCS)))}"
    )


def numbers(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics whose history is plotted: what policies are compared by, else the plain or mean ones."""
    finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
    chosen = headline(finite) or {n: v for n, v in finite.items() if not n.endswith(ENDS)}
    if len(chosen) > NUMBERS:
        chosen = {n: v for n, v in chosen.items() if "." not in n or n.endswith(".mean")}
    return {name: float(f"{value:.6g}") for name, value in list(chosen.items())[:NUMBERS]}


def metrics_table(metrics: Mapping[str, float]) -> dg.MetadataValue[Any]:
    """All metrics, each with its 95 % interval where it has one."""
    records = [
        {"metric": name, "value": f"{value:.4g}", "95 % interval": _interval(metrics, name)}
        for name, value in sorted(metrics.items())
        if not name.endswith(ENDS)
    ]
    if not any(record["95 % interval"] for record in records):
        records = [{k: v for k, v in r.items() if k != "95 % interval"} for r in records]
    if 0 < len(records) <= TABLE_ROWS:
        return table(records)
    lines = ["| metric | value |", "| --- | --- |"]
    return dg.MetadataValue.md(
        "\n".join(lines + [f"| {r['metric']} | {r['value']} |" for r in records])
    )


def samples_table(path: Path) -> dg.TableMetadataValue:
    """Completions of a training's last rollout, each with what its reward is made of."""
    rows = [row for _, row in iter_json_lines(path)]
    last = [row for row in rows if row["rollout"] == rows[-1]["rollout"]]
    return table([_sample(row) for row in last[:SAMPLES]])


def _sample(row: Mapping[str, Any]) -> dict[str, str]:
    terms = sorted(row.get("contributions", {}).items(), key=lambda item: -abs(item[1]))
    numbers = {"reward": "reward", "R_rm": "reward_model", "KL": "kl"}
    return {
        "prompt": row["prompt"],
        "completion": row["completion"],
        "type": row["response_type"] or "",
        "class": row.get("completion_class") or "",
        **{name: f"{row[key]:+.3f}" if key in row else "" for name, key in numbers.items()},
        "contributions": ", ".join(f"{value:+.3f} {name}" for name, value in terms),
    }


def _interval(metrics: Mapping[str, float], name: str) -> str:
    ends = [metrics.get(f"{name}{end}") for end in ENDS]
    return "" if None in ends else f"{ends[0]:.4g} to {ends[1]:.4g}"


def table(records: list[dict[str, Any]]) -> dg.TableMetadataValue:
    """Rows of texts and numbers as Dagster's table."""
    columns = [dg.TableColumn(name, "string") for name in records[0]] if records else []
    return dg.MetadataValue.table(
        [dg.TableRecord(record) for record in records], dg.TableSchema(columns)
    )


def image(content: bytes, title: str, url: str | None = None) -> str:
    """A PNG as Markdown: by its address, which shows without a click and opens with one, or within it."""
    if url:
        return f"[![{title}]({url}?width={WIDTH})]({url})"
    return f"![{title}](data:image/png;base64,{base64.b64encode(content).decode()})"
