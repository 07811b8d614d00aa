"""Graph runs that MLflow holds, side by side.

Reads MLflow alone, so it works from any machine that reaches the server. The page (trade-off with intervals
and lines of equal F1*, the models, refusals by category, weights, rewards by label) can be kept in MLflow as
a run of its own.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined

from orchestration.lineage.tracking import SUMMARY, Tracking
from pipeline.plots import axes, save_plot
from pipeline.release.comparison_table import trade_off
from rbr.errors import RBRError

HERE = Path(__file__).resolve().parent
PLOTS = ("weights.png", "rewards.png")


@dataclass(frozen=True)
class GraphRun:
    """A finished graph run: its summary (written by ``model_release``), plots, and settings as logged."""

    run_id: str
    name: str
    summary: dict[str, Any]
    plots: dict[str, bytes]
    settings: dict[str, str] = field(default_factory=dict)


def graph_runs(tracking: Tracking, condition: str = "") -> list[Any]:
    """The parent runs of whole graph runs, the newest first."""
    wanted = "tags.`rbr.step` = 'graph'" + (f" and {condition}" if condition else "")
    return list(tracking.client.search_runs([tracking.experiment], wanted))


def find(tracking: Tracking, names_or_ids: list[str]) -> list[GraphRun]:
    """The runs of these names or ids, or the last two.

    Raises:
        RBRError: if there is none of that name, or fewer than two.
    """
    parents = graph_runs(tracking, "attributes.status = 'FINISHED'")
    names = [str(run.info.run_name) for run in parents]
    if names_or_ids:
        chosen: list[Any] = []
        for wanted in names_or_ids:
            found = [run for run in parents if wanted in (run.info.run_id, run.info.run_name)]
            if len(found) != 1:
                many = "several finished runs are" if found else "no finished run is"
                raise RBRError(f"{many} named '{wanted}'; there are: {', '.join(names) or 'none'}")
            chosen += found
    else:
        chosen = list(parents[:2][::-1])
    if len(chosen) < 2:
        raise RBRError(f"comparing takes two finished graph runs; there are: {names or 'none'}")
    return [_read(tracking, run) for run in chosen]


def _read(tracking: Tracking, run: Any) -> GraphRun:
    files = {file.path for file in tracking.client.list_artifacts(run.info.run_id)}
    if SUMMARY not in files:
        raise RBRError(f"run '{run.info.run_name}' has no {SUMMARY}: an older version made it")

    def content(name: str) -> bytes:
        return Path(tracking.client.download_artifacts(run.info.run_id, name)).read_bytes()

    return GraphRun(
        run.info.run_id,
        str(run.info.run_name),
        json.loads(content(SUMMARY)),
        {name: content(name) for name in PLOTS if name in files},
        dict(run.data.params),
    )


def rows(runs: list[GraphRun]) -> list[dict[str, Any]]:
    """The models of all runs; a model that is the same in all of them is listed once."""
    found: list[dict[str, Any]] = []
    for model in runs[0].summary["table"]["rows"]:
        name = model["model"]
        in_runs = [
            next((row for row in run.summary["table"]["rows"] if row["model"] == name), None)
            for run in runs
        ]
        if all(row == model for row in in_runs):
            found.append(model)
            continue
        pairs = zip(runs, in_runs, strict=True)
        found += [{**row, "model": f"{name} ({run.name})"} for run, row in pairs if row]
    return found


def changed_weights(runs: list[GraphRun]) -> list[tuple[str, str, list[float | None]]]:
    """Response type, feature and its weight in each run, where the runs differ."""
    by_run = [run.summary["weights"] for run in runs]
    pairs = {(kind, name) for weights in by_run for kind in weights for name in weights[kind]}
    found = []
    for response_type, feature in sorted(pairs):
        values = [weights.get(response_type, {}).get(feature) for weights in by_run]
        if len({None if v is None else round(v, 6) for v in values}) > 1:
            found.append((response_type, feature, values))
    return found


def changed_settings(runs: Sequence[GraphRun]) -> list[tuple[str, list[str | None]]]:
    """Settings that differ, and their value in each run; the rules' digest is none of them."""
    names = sorted({name for run in runs for name in run.settings} - {"rules"})
    values = ((name, [run.settings.get(name) for run in runs]) for name in names)
    return [(name, found) for name, found in values if len(set(found)) > 1]


def changed_rules(before: GraphRun, now: GraphRun) -> list[tuple[str, str]] | None:
    """Sections and propositions that differ in meaning, each with what became of it.

    Returns:
        None where a run of an earlier version did not note them.
    """
    old: Mapping[str, str] | None = before.summary.get("rule_hashes")
    new: Mapping[str, str] | None = now.summary.get("rule_hashes")
    if before.summary["rules"] == now.summary["rules"]:
        return []
    if old is None or new is None:
        return None
    return [
        (name, "changed" if name in old and name in new else "new" if name in new else "gone")
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]


def compare_url(tracking: Tracking, runs: Sequence[GraphRun]) -> str:
    """MLflow's own compare view, below the server's address."""
    ids = quote(json.dumps([run.run_id for run in runs]))
    experiments = quote(json.dumps([tracking.experiment]))
    return f"/#/compare-runs?runs={ids}&experiments={experiments}"


def render(runs: list[GraphRun]) -> tuple[str, bytes]:
    """The page, and the trade-off plot as PNG."""
    table = runs[0].summary["table"] | {"rows": rows(runs)}
    figure, plot = axes(9, 7.5)
    trade_off(table, plot[0])
    picture = io.BytesIO()
    save_plot(figure, picture)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["picture"] = lambda content: base64.b64encode(content).decode()
    page = environment.from_string((HERE / "compare.html").read_text("utf-8")).render(
        runs=runs,
        table=table,
        trade_off=picture.getvalue(),
        weights=changed_weights(runs),
        settings=changed_settings(runs),
        rules=changed_rules(runs[0], runs[-1]),
    )
    return page, picture.getvalue()


def log(tracking: Tracking, runs: list[GraphRun], page: str) -> str:
    """Keep the comparison in MLflow; returns its run's id."""
    run = tracking.client.create_run(
        tracking.experiment,
        run_name=" | ".join(run.name for run in runs),
        tags={"rbr.step": "comparison", "rbr.compared": ",".join(run.run_id for run in runs)},
    )
    tracking.client.log_text(run.info.run_id, page, "comparison.html")
    tracking.client.log_text(run.info.run_id, json.dumps(rows(runs), indent=1), "comparison.json")
    tracking.client.set_terminated(run.info.run_id, "FINISHED")
    return str(run.info.run_id)
