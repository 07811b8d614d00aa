"""MLflow's list and the rule page in a browser, over made-up records: no graph runs.

Screenshots are kept in .cache/screenshots/.
"""

import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from assets import graph
from orchestration.lineage.experiment import view_path
from orchestration.lineage.tracking import Tracking
from pipeline.variants import VARIANTS
from tests.orchestration.made import make_all
from tests.orchestration.servers import answers, shoot, wait_for
from tests.servers import free_port

GRAPH = graph(tuple(VARIANTS))


@contextmanager
def server(root, url, *arguments):
    with (root / "server.out").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=root,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=out,
            stderr=out,
        )
    try:
        wait_for(url, lambda: answers(url) or process.poll() is not None)
        assert process.poll() is None, (root / "server.out").read_text()[-3000:]
        yield
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
def tracking(tmp_path, monkeypatch):
    """Three finished graph runs, each with a training nested in it."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    own = Tracking(tmp_path)
    (tmp_path / "files").mkdir()
    for number, share in enumerate((0.25, 0.5, 0.75)):
        name = f"rbr PPO · margin {number + 1} · seed 0"
        with own.step(GRAPH["rbr/ppo_checkpoint"], name, f"g{number}", "smoke", {}, print) as run:
            hashes = {"dep:data/safety_prompts": "a" * 36, "out:models/x": f"{number}" * 36}
            run.lineage(hashes, f"{number}" * 64, f"{number}" * 36)
            run.model("rbr-ppo_checkpoint", f"{number}" * 36, {})
        metrics = {
            "rbr_ppo.f1_star": share,
            "rbr_ppo.not_unsafe": share,
            "rbr_ppo.ideal_refusal": 0.125,
        }
        parent = own.finish(
            f"g{number}", "smoke", name, f"{number}" * 64, {"seed": 0}, metrics, tmp_path / "files"
        )
        parent.datasets({"data/safety_prompts": "a" * 36})
        parent.made(f"{number}" * 36)
    return own


def test_mlflow_lists_three_runs_by_name_with_f1_and_what_they_are_made_of(tracking, page):
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    store = f"sqlite:///{tracking.root / 'mlflow' / 'mlflow.db'}"
    options = ("--port", str(port), "--workers", "1", "--backend-store-uri", store)
    with server(tracking.root, f"{address}/health", "mlflow", "server", *options):
        page.set_viewport_size({"width": 2200, "height": 900})  # the list draws what is in sight
        page.goto(f"{address}/{view_path(tracking.experiment)}")
        for margin in (1, 2, 3):
            page.get_by_text(f"rbr PPO · margin {margin} · seed 0").first.wait_for()
        for column in (
            "f1_star",
            "not_unsafe",
            "ideal_refusal",
            "rbr.variant",
            "rules.digest",
            "Dataset",
        ):
            page.get_by_role("columnheader", name=column).first.wait_for()
        cells = page.locator("[role=gridcell][col-id*='f1_star']")
        cells.nth(2).wait_for()
        assert {float(cells.nth(i).inner_text()) for i in range(3)} == {0.25, 0.5, 0.75}
        page.get_by_text("safety_prompts").first.wait_for()
        shoot(page, "mlflow-runs")


def test_the_rule_page_opens_a_propositions_definition(root, tmp_path, page):
    make_all(root, tmp_path)
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with server(tmp_path, f"{address}/health", "orchestration.pages", "--port", str(port)):
        page.goto(address)
        row = page.locator("tr#apology")
        row.get_by_text("Does the answer apologise?").wait_for()
        means = row.get_by_text("true when")
        assert not means.is_visible()
        row.get_by_text("definition").first.click()
        means.wait_for()
        shoot(page, "rules")
        page.get_by_role("link", name="accuracy").click()
        page.wait_for_url("**/?sort=accuracy")
