"""``rbr runs``: the graph runs that MLflow holds, and two of them side by side."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestration.cli import common
from rbr.errors import RBRError

if TYPE_CHECKING:
    from orchestration.lineage.compare import GraphRun
    from orchestration.lineage.tracking import Tracking

app = typer.Typer(no_args_is_help=True, help="Graph runs in MLflow.")


def _tracking(root: Path | None) -> Tracking:
    from orchestration.lineage.tracking import Tracking

    return Tracking(common.find_root(root))


@app.command("list")
def list_(as_json: common.JsonOption = False, root: common.RootOption = None) -> None:
    """The graph runs, the newest first: name, status, rules, and F1* of the released policy."""
    from orchestration.lineage.compare import graph_runs

    rows = [_row(run) for run in graph_runs(_tracking(root))]
    if as_json:
        common.print_json(rows)
    elif not rows:
        common.console.print("no graph run yet: `make demo` makes one")
    else:
        common.print_table(
            ["run", "begun", "status", "rules", "F1*", "id"],
            [
                [
                    row["name"],
                    row["begun"],
                    row["status"].lower(),
                    row["rules"][:12],
                    "-" if row["f1_star"] is None else f"{row['f1_star']:.1%}",
                    row["id"],
                ]
                for row in rows
            ],
            left=True,
        )


def _row(run: Any) -> dict[str, Any]:
    from pipeline.release.comparison_table import model_title
    from pipeline.variants import MAIN

    main = model_title(MAIN, "ppo").replace(" ", "_").lower()
    return {
        "name": run.info.run_name,
        "begun": time.strftime("%Y-%m-%d %H:%M", time.localtime(run.info.start_time / 1000)),
        "status": run.info.status,
        "rules": run.data.tags.get("rules.digest", ""),
        "f1_star": run.data.metrics.get(f"{main}.f1_star"),
        "id": run.info.run_id,
    }


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="RUN", help="Name or id of a graph run.")],
    as_json: common.JsonOption = False,
    root: common.RootOption = None,
) -> None:
    """One graph run: its metrics, and the settings and rules that it was made with."""
    from orchestration.lineage.compare import graph_runs

    runs = graph_runs(_tracking(root))
    found = [run for run in runs if name in (run.info.run_id, run.info.run_name)]
    if len(found) != 1:
        names = ", ".join(str(run.info.run_name) for run in runs) or "none"
        raise RBRError(
            f"{'several runs are' if found else 'no run is'} named '{name}'; there are: {names}"
        )
    [run] = found
    if as_json:
        common.print_json({**_row(run), "metrics": run.data.metrics, "settings": run.data.params})
        return
    for key, value in _row(run).items():
        common.console.print(f"{key + ':':<9} {value}", markup=False)
    common.print_table(
        ["metric", "value"],
        [[key, f"{value:.4g}"] for key, value in sorted(run.data.metrics.items())],
    )
    common.print_table(["setting", "value"], sorted(run.data.params.items()), left=True)


@app.command()
def compare(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="RUN ...", help="The last two by default.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write the page of the comparison here.")
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    as_json: common.JsonOption = False,
    root: common.RootOption = None,
) -> None:
    """Metrics of graph runs side by side, and the settings, rules and weights that differ."""
    from orchestration.lineage import compare as comparison

    tracking = _tracking(root)
    found = comparison.find(tracking, runs or [])
    report = {
        "models": comparison.rows(found),
        "settings": comparison.changed_settings(found),
        "rules": comparison.changed_rules(found[0], found[-1]),
        "weights": comparison.changed_weights(found),
    }
    if as_json:
        common.print_json({"runs": [run.name for run in found], **report})
    else:
        _show(found, report)
    if html or open_page:
        page, _ = comparison.render(found)
        kept = comparison.log(tracking, found, page)
        target = html or common.find_root(root) / ".cache" / "comparison.html"
        common.write_text(target, page)
        if not as_json:
            common.console.print(f"{target}; in MLflow: run {kept}", soft_wrap=True)
        if open_page:
            typer.launch(target.resolve().as_uri())
    if not as_json:
        url = comparison.compare_url(tracking, found)
        common.console.print(f"MLflow's own view: {url}", soft_wrap=True, markup=False)


def _show(runs: Sequence[GraphRun], report: dict[str, Any]) -> None:
    table = runs[0].summary["table"]
    names = [run.name for run in runs]
    common.print_table(
        ["model", *(table["titles"][name] for name in table["metrics"])],
        [
            [row["model"], *(_cell(name, row[name]) for name in table["metrics"])]
            for row in report["models"]
        ],
        " | ".join(names),
    )
    for title, rows in (
        ("setting", [[name, *values] for name, values in report["settings"]]),
        ("weight", [[f"{of}: {name}", *map(_number, v)] for of, name, v in report["weights"]]),
    ):
        if rows:
            common.print_table([title, *names], rows)
        else:
            common.console.print(f"no {title} differs")
    rules = report["rules"]
    if rules is None:
        common.console.print("the rules differ; a run of an earlier version did not note in what")
    elif not rules:
        common.console.print("the rules mean the same")
    for name, change in rules or ():
        common.console.print(f"rules: {change:<8} {name}")


def _cell(metric: str, interval: Sequence[float]) -> str:
    value, low, high = interval
    if metric == "fluency":
        return f"{value:.2f} \\[{low:.2f}, {high:.2f}]"
    return f"{value:.1%} \\[{low:.1%}, {high:.1%}]"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:+.3f}"
