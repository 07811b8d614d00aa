"""The pages as a person uses them, in Debian's Chromium: materialize, edit a rule, compare two runs, follow links.

Screenshots are kept in .cache/screenshots/.
"""

import re
import shutil
from pathlib import Path

import pytest

from assets import graph
from orchestration.cli.diff import compare
from pipeline.context import Context
from pipeline.profile import read_settings
from pipeline.variants import VARIANTS
from tests.orchestration.conftest import Workspace
from tests.orchestration.servers import restored, serving, shoot, wait_for

sync_api = pytest.importorskip("playwright.sync_api")

pytestmark = pytest.mark.smoke_graph


@pytest.fixture
def servers(finished, tmp_path, monkeypatch):
    """Dagster's and MLflow's servers over a copy of the finished workspace."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = Path(shutil.copytree(finished.root, tmp_path / "project", symlinks=True))
    # DVC has every artifact; Dagster has seen none.
    shutil.rmtree(root / ".dagster")
    with serving(Workspace(root)) as own:
        yield own


def finished_runs(instance):
    """The newest first."""
    return [run for run in instance.get_runs() if run.is_finished]


def test_a_person_materializes_an_asset_edits_a_rule_and_compares_two_runs(servers, page):
    with servers.instance() as instance:
        materialize(page, servers, instance)
        edit_a_rule(page, servers, instance)
    compare_in_mlflow(page, servers)


def materialize(page, servers, instance):
    """One asset, by its button; its check turns green."""
    address = f"{servers.dagster}/assets/safety_prompts?view=checks"
    page.goto(address)
    page.get_by_text("This is a").wait_for()  # of the check, which was never evaluated here
    assert page.get_by_text("Passed", exact=True).count() == 0
    page.get_by_role("button", name=re.compile("Materialize")).first.click()
    # Dagster has not seen what it reads; DVC has.
    page.get_by_role("button", name="Confirm").click()
    wait_for("the run's end", lambda: finished_runs(instance))
    assert finished_runs(instance)[0].is_success
    page.goto(address)
    page.get_by_text("Passed", exact=True).wait_for()
    shoot(page, "dagster-check")


def edit_a_rule(page, servers, instance):
    """The sensor is switched on by its switch; the edit runs by itself, as far as it reaches."""
    workspace = servers.workspace
    page.goto(f"{servers.dagster}/automation")
    row = page.get_by_text("rules_changed", exact=True).locator("xpath=../../../../..")
    switch = row.locator("label[class*=Switch]")  # the row's other one chooses it
    switch.click()
    sync_api.expect(switch.locator("input")).to_be_checked(timeout=120_000)
    shoot(page, "dagster-automation")
    workspace.edit("rules/reward.yaml", "margin: 3.0", "margin: 1.25")
    settings, artifacts = read_settings(workspace.root)[1], graph(tuple(VARIANTS))
    context = Context(workspace.root, settings, artifacts["rules"], artifacts)
    stale = compare(context, "HEAD").stale
    assert "fitted_weights" in stale
    wait_for("the end of the edit's run", lambda: len(finished_runs(instance)) == 2)
    run = finished_runs(instance)[0]
    assert run.is_success
    outcomes = restored(instance, run.run_id)
    assert set(outcomes) == set(artifacts)
    assert {key for key, reused in outcomes.items() if not reused} == set(stale)
    page.goto(f"{servers.dagster}/runs")
    page.get_by_text(run.run_id[:8]).first.wait_for()
    shoot(page, "dagster-runs")


def compare_in_mlflow(page, servers):
    """The two graph runs, chosen in the list."""
    page.goto(f"{servers.mlflow}/#/experiments/1/runs")
    boxes = page.get_by_label("Press Space to toggle row selection (unchecked)")
    boxes.first.wait_for()
    assert boxes.count() >= 2
    for _ in range(2):
        boxes.first.check()  # it is no longer among the unchecked ones
    page.get_by_role("button", name="Compare", exact=True).click()
    page.get_by_text("Comparing 2 Runs").wait_for()
    shoot(page, "mlflow-compare")


def test_an_asset_leads_to_its_mlflow_run_its_data_docs_and_its_plots(servers, page):
    """One click each, from what was restored: the run is the one that made it."""
    with servers.instance() as instance:
        restore(page, servers, instance, "rbr/ppo_checkpoint")
    address = f"{servers.dagster}/assets/rbr/ppo_checkpoint?view=overview"
    page.goto(address)
    plot = page.get_by_role("img", name="training")
    plot.wait_for()  # shown without a click, and loaded
    wait_for("the plot", lambda: plot.evaluate("image => image.naturalWidth") > 100)
    shoot(page, "dagster-asset")
    with page.expect_popup() as opened:
        page.locator(f"a[href^='{servers.mlflow}/#/experiments/']").first.click()
    opened.value.get_by_text("rbr PPO · margin").first.wait_for()
    shoot(opened.value, "mlflow-run")
    with page.expect_popup() as opened:
        page.locator(f"a[href^='{servers.pages}/data-docs/validations/']").first.click()
    opened.value.get_by_text("kl_last").first.wait_for()
    shoot(opened.value, "data-docs")


def restore(page, servers, instance, key):
    """Materialize an asset that DVC has, by its button."""
    before = len(finished_runs(instance))
    page.goto(f"{servers.dagster}/assets/{key}?view=overview")
    button = page.get_by_role("button", name=re.compile("Materialize")).first
    sync_api.expect(button).to_be_enabled(timeout=600_000)  # the definitions are loaded
    button.click()
    page.get_by_role("button", name="Confirm").click()
    wait_for("the run's end", lambda: len(finished_runs(instance)) > before)
    assert finished_runs(instance)[0].is_success
