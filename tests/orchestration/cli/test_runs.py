"""``rbr runs`` on runs as MLflow gives them."""

import json
from types import SimpleNamespace

import pytest
from rich.console import Console
from typer.testing import CliRunner

from orchestration.cli import common
from orchestration.cli.main import app
from orchestration.lineage import compare
from rbr.errors import RBRError


def run(name, f1, rules):
    return SimpleNamespace(
        info=SimpleNamespace(
            run_name=name, run_id=f"id-{name}", status="FINISHED", start_time=1_700_000_000_000
        ),
        data=SimpleNamespace(
            tags={"rules.digest": rules}, metrics={"rbr_ppo.f1_star": f1}, params={"seed": "0"}
        ),
    )


def side(name, f1, rules, steps):
    metric = {key: [f1, f1 - 0.1, f1 + 0.1] for key in ("not_unsafe", "not_overrefuse", "f1_star")}
    table = {
        "rows": [{"model": "RBR PPO", **metric}],
        "metrics": list(metric),
        "titles": {key: key for key in metric},
        "notes": [],
    }
    summary = {
        "table": table,
        "categories": {"RBR PPO": {"hate": {"full_refusal": 0.5}}},
        "weights": {"comply": {"apology": -f1}},
        "rules": rules,
        "rule_hashes": {"ranking": rules},
    }
    return compare.GraphRun(f"id-{name}", name, summary, {}, {"rl.steps": steps, "seed": "0"})


@pytest.fixture
def rbr(written, monkeypatch):
    """Runs a command in a project whose MLflow store has two runs."""
    monkeypatch.setattr(
        compare,
        "graph_runs",
        lambda *_: [run("after", 0.8, "d" * 64), run("before", 0.7, "c" * 64)],
    )
    sides = [side("before", 0.7, "c", "3"), side("after", 0.8, "d", "4")]
    monkeypatch.setattr(compare, "find", lambda tracking, names: sides)
    monkeypatch.setattr(compare, "log", lambda *_: "kept")
    # Rich takes a dumb terminal to be 80 columns wide, unless it is given both.
    monkeypatch.setattr(common, "console", Console(highlight=False, width=200, height=50))
    monkeypatch.setattr(compare, "compare_url", lambda *_: "/#/compare-runs?runs=x")

    def invoke(*arguments, check=True):
        found = CliRunner().invoke(
            app, [*map(str, arguments), "--root", str(written)], env={"COLUMNS": "200"}
        )
        if check and found.exception:
            raise found.exception
        return found.stdout

    return invoke


def test_list_names_runs_with_their_f1(rbr):
    lines = rbr("runs", "list").splitlines()
    assert any("after" in line and "80.0%" in line and "id-after" in line for line in lines)
    assert [row["f1_star"] for row in json.loads(rbr("runs", "list", "--json"))] == [0.8, 0.7]


def test_show_has_metrics_and_settings(rbr):
    shown = rbr("runs", "show", "before")
    assert "rbr_ppo.f1_star" in shown and "0.7" in shown and "seed" in shown


def test_show_of_an_unknown_run_names_those_there_are(rbr):
    with pytest.raises(RBRError, match="no run is named 'nope'; there are: after, before"):
        rbr("runs", "show", "nope")


def test_compare_prints_metrics_and_what_differs(rbr):
    shown = " ".join(rbr("runs", "compare", "before", "after").split())
    assert "70.0% [60.0%, 80.0%]" in shown and "80.0% [70.0%, 90.0%]" in shown
    assert "rl.steps" in shown and "seed" not in shown
    assert "comply: apology" in shown and "-0.700" in shown and "-0.800" in shown
    assert "rules: changed ranking" in shown


def test_compare_writes_the_page(rbr, tmp_path):
    shown = rbr("runs", "compare", "before", "after", "--html", tmp_path / "page.html")
    assert "in MLflow: run kept" in shown
    page = (tmp_path / "page.html").read_text()
    assert "RBR PPO (after)" in page and "<td>rl.steps</td>" in page
