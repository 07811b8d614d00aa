"""Every gate: bad data fails it, it says what and by how much, and nothing after it is made."""

import dagster as dg
import pytest

from orchestration import gates, resources
from orchestration.definitions import definitions
from orchestration.demo import run_graph
from orchestration.execute import Outcome, Workspace, make
from orchestration.gates.suites import SUITES
from rbr.settings import read_settings
from rbr.steps import STEPS, Context
from tests.orchestration.broken import BROKEN, change, context, unknown_feature
from tests.orchestration.stages import outcomes

__all__ = ["context"]
pytestmark = pytest.mark.smoke_graph

GATED = {name for name, step in STEPS.items() if step.gate}


def test_every_gate_has_a_suite_and_bad_data():
    assert set(SUITES) == GATED
    assert {own.artifact for own in BROKEN} | {"rules"} == GATED


def test_every_gate_blocks(root):
    graph = definitions(root).resolve_asset_graph()
    specs = [spec for own in graph.assets_defs for spec in own.check_specs]
    assert {spec.asset_key.to_user_string() for spec in specs if spec.blocking} == GATED
    assert all(spec.blocking for spec in specs)


@pytest.mark.parametrize("bad", BROKEN, ids=lambda bad: f"{bad.artifact}: {bad.said}")
def test_bad_data_is_named(context, bad):
    own = bad.apply(context)
    gate = gates.evaluate(own, bad.artifact)
    assert not gate.passed
    assert bad.said in " ".join(gate.failures)
    assert (own.root / gate.docs).is_file()


def test_bad_rules_are_named(context):
    change(context.root / "rules" / "reward.yaml", unknown_feature)
    gate = gates.evaluate(context, "rules")
    assert "check: problems" in " ".join(gate.failures)


def after(name):
    """Artifacts that are made from this one, at any remove."""
    found = {name}
    for other, step in STEPS.items():
        if found & set(step.needs):
            found.add(other)
    return found - {name}


ONE_EACH = {own.artifact: own for own in BROKEN}


@pytest.mark.parametrize("artifact", sorted(GATED))
def test_nothing_after_a_failed_gate_is_made(context, artifact, monkeypatch):
    """The real graph and checks; artifacts lie there finished, one of them broken."""
    if artifact == "rules":
        change(context.root / "rules" / "reward.yaml", unknown_feature)
    else:
        ONE_EACH[artifact].apply(context)

    def given_back(workspace, name, variant):
        own = Context(workspace.root, workspace.settings, variant)
        gate = gates.Gate(True) if name in GATED else None
        if name == artifact:
            gate = gates.evaluate(own, name)
        return Outcome(own.path(name, variant), {}, gate, "as it lies", reused=True)

    monkeypatch.setattr(resources, "reuse", given_back)
    monkeypatch.setattr(resources, "require_inputs", lambda *_: None)
    with dg.DagsterInstance.ephemeral() as instance:
        problems = run_graph(context.root, instance, "gates")
        made = {stage.partition("@")[0] for stage in outcomes(instance, "gates")}
    assert [p for p in problems if p.startswith(f"{artifact}: gate did not pass")], problems
    assert artifact in made
    assert not made & after(artifact)
    assert artifact == "model_release" or "model_release" not in made


def test_a_release_whose_own_gate_fails_moves_no_champion(finished, monkeypatch):
    """Its gate is asked before the alias moves."""
    root = finished.root
    monkeypatch.chdir(root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    workspace = Workspace.open(root)
    failed = {"part": "p", "what": "w", "found": "f", "passed": False, "note": ""}
    monkeypatch.setattr(
        "orchestration.execute.gates.evaluate", lambda *_: gates.Gate(False, [failed])
    )
    moved = []
    monkeypatch.setattr("orchestration.execute._release", lambda *_: moved.append(1))
    outcome = make(workspace, "model_release", None, "gates", print, commit=False)
    assert outcome.gate is not None
    assert not outcome.gate.passed
    assert moved == []
    assert read_settings(root)[0] == "smoke"
