"""Every expectation of every gate: made-up bad data fails it, and stops what comes after; no model."""

import functools
import shutil
from contextlib import nullcontext
from dataclasses import replace
from fnmatch import fnmatchcase as like
from types import SimpleNamespace

import dagster as dg
import jinja2
import pytest
import yaml

import assets
from orchestration import execute, gates, resources
from orchestration.definitions import definitions
from orchestration.gates.run import store
from orchestration.gates.suites import SUITES, Champion, predecessor
from rbr.errors import GateError
from rbr.evaluation.paired import Difference
from pipeline.profile import Gates, Settings, read_settings
from rbr.steps import STEPS, Context
from tests.orchestration.bad_data import BAD, CANNOT_FAIL, NAN, change
from tests.orchestration.made import make_all, own

GATED = [name for name, step in STEPS.items() if step.gate]


@pytest.fixture(scope="module", autouse=True)
def templates():
    """Great Expectations compiles the templates of its pages anew for each: a third of the time."""
    kept, compiled = {}, jinja2.Environment.compile

    def once(self, source, name=None, *others):
        if (source, name) not in kept:
            kept[source, name] = compiled(self, source, name, *others)
        return kept[source, name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jinja2.Environment, "compile", once)
        yield


@pytest.fixture(scope="module")
def good(root, tmp_path_factory):
    return make_all(root, tmp_path_factory.mktemp("made"))


@pytest.fixture
def made(good, tmp_path):
    """The good artifacts, to be broken."""
    ignore = shutil.ignore_patterns("gx", ".cache")
    shutil.copytree(good.root, tmp_path / "made", ignore=ignore)
    return Context(tmp_path / "made", good.settings)


@pytest.fixture(scope="module")
def outcome_of(good, tmp_path_factory):
    """What a gate says of bad data, and where that lies; asked once for each."""

    @functools.cache
    def ask(bad):
        folder = tmp_path_factory.mktemp("bad") / "made"
        shutil.copytree(good.root, folder, ignore=shutil.ignore_patterns("gx"))
        return folder, gates.evaluate(bad.apply(Context(folder, good.settings)), bad.artifact)

    return ask


@pytest.fixture(scope="module")
def outcomes(good):
    """Each gate's outcome of good data."""
    return {name: gates.evaluate(own(good, name), name) for name in GATED}


def named(row):
    return f"{row['part']}: {row['what']}"


def test_good_data_passes_every_gate(outcomes):
    assert {name: gate.failures for name, gate in outcomes.items() if not gate.passed} == {}


def test_results_are_kept_as_data_docs(good, outcomes):
    gate = outcomes["safety_prompts"]
    assert (good.root / gate.docs).is_file()
    assert "comply_share" in gate.markdown()


def test_every_expectation_of_every_gate_has_bad_data(outcomes):
    untested = [
        f"{name} {named(row)}"
        for name, gate in outcomes.items()
        for row in gate.rows
        if not any(bad.artifact == name and like(named(row), bad.fails) for bad in BAD)
        and not any(like(f"{name} {named(row)}", pattern) for pattern in CANNOT_FAIL)
    ]
    assert untested == []


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_bad_data_fails_what_is_meant_for_it(outcome_of, bad):
    root, gate = outcome_of(bad)
    meant = [row for row in gate.rows if like(named(row), bad.fails)]
    assert meant, [named(row) for row in gate.rows]
    assert not gate.passed
    assert [named(row) for row in meant if row["passed"]] == []
    # What failed, by how much, and where to look.
    lines = [line for row in meant for line in gate.failures if line.startswith(named(row))]
    assert len(lines) >= len(meant)
    assert all(bad.found in row["found"] for row in meant), [row["found"] for row in meant]
    assert (root / gate.docs).is_file()


# Each threshold of a profile, one that good data does not meet, and what then fails.
THRESHOLDS = {
    "family_min": (99, "safety_prompts", "balance: families >= 99"),
    "prompts_min": (99, "safety_prompts", "balance: prompts >= 99"),
    "eval_prompts_min": (99, "safety_prompts", "balance: eval_prompts >= 99"),
    "comply_share_min": (0.7, "safety_prompts", "balance: comply_share >= 0.7 *"),
    "lookalike_share_min": (1.1, "safety_prompts", "balance: lookalike_share >= 1.1"),
    "gold_rows_min": (99, "gold_propositions", "size: rows >= 99"),
    "gold_train_support": (10, "gold_propositions", "support: train >= 10"),
    "gold_heldout_support": (6, "gold_propositions", "support*: heldout >= 6"),
    "gold_rare_train_support": (10, "gold_propositions", "support of the rarest: train >= 10"),
    "grader_accuracy_min": (0.95, "grader_accuracy", "mean: accuracy >= 0.95 *"),
    "grader_proposition_min": (0.95, "grader_accuracy", "propositions: accuracy >= 0.95 *"),
    "comparison_confirmed_min": (1.0, "synthetic_comparisons", "confirmed: confirmed >= 1 *"),
    "comparison_label_min": (1.0, "synthetic_comparisons", "confirmed by label: share >= 1 *"),
    "reward_accuracy_min": (0.75, "helpful_reward_model", "metrics: heldout_accuracy >= 0.75 *"),
    "pair_error_max": (0.01, "fitted_weights", "*: total >= 0 and <= 0.01"),
    "pair_error_rise_max": (-0.1, "fitted_weights", "*: above_reward_model <= -0.1"),
    "sft_loss_ratio_max": (0.4, "sft_checkpoint", "training: ratio >= 0 and <= 0.4"),
    "ppo_gain_min": (2.0, "ppo_checkpoint", "training: gain_high >= 2"),
    "ppo_kl_max": (4.0, "ppo_checkpoint", "training: kl_last <= 4"),
    "ppo_length_ratio_min": (0.95, "ppo_checkpoint", "training: length_ratio >= 0.95"),
    "ppo_distinct_min": (0.8, "ppo_checkpoint", "training: distinct_last >= 0.8 *"),
    "judge_accuracy_min": (0.99, "judge", "held-out gold: *_accuracy >= 0.99 *"),
    "capability_loss_margin": (0.05, "capability_eval", "capability: loss_rise <= 0.05"),
}
# Says which propositions the two limits of support are for; the other two need a champion (below).
NO_LIMIT = {"gold_rare_count", "f1_loss_max", "f1_drop_max"}


def profile(context, **limits):
    """The context after its profile's thresholds were edited."""
    path = context.root / "profiles" / "made.yaml"
    written = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({"gates": {**written["gates"], **limits}}))
    return Context(context.root, read_settings(context.root)[1], context.variant)


def test_every_threshold_is_tested():
    assert set(THRESHOLDS) | NO_LIMIT == set(Gates.model_fields)


@pytest.mark.parametrize("artifact", sorted({gated for _, gated, _ in THRESHOLDS.values()}))
def test_thresholds_are_the_profiles(made, artifact):
    limits = {name: limit for name, (limit, gated, _) in THRESHOLDS.items() if gated == artifact}
    if artifact == "synthetic_comparisons":
        path = made.path(artifact) / "train.jsonl"
        change(path, lambda rows: [{**rows[0], "confirmed": False}, *rows[1:]])
    gate = gates.evaluate(own(profile(made, **limits), artifact), artifact)
    failed = {named(row) for row in gate.rows if not row["passed"]}
    fails = [THRESHOLDS[name][2] for name in limits]
    assert [pattern for pattern in fails if not any(like(row, pattern) for row in failed)] == []
    assert [row for row in failed if not any(like(row, pattern) for pattern in fails)] == []


@pytest.mark.parametrize(
    ("limits", "former", "passes", "found"),
    [
        # The champion answered the same prompts: certainly worse, worse by less than the profile allows,
        # a tie.
        ({}, Champion("3", 0.9, Difference(-0.2, -0.3, -0.1)), False, "-0.1"),
        ({"f1_loss_max": 0.15}, Champion("3", 0.9, Difference(-0.2, -0.3, -0.1)), True, "-0.1"),
        ({}, Champion("3", 0.9, Difference(-0.02, -0.06, 0.02)), True, "0.02"),
        ({}, Champion("3", 0.9, Difference(NAN, NAN, NAN)), False, "nan"),
        # Other prompts: F1* is 0.8 now.
        ({}, Champion("3", 0.95, None), False, "0.15"),
        ({"f1_drop_max": 0.2}, Champion("3", 0.95, None), True, "0.15"),
        ({}, Champion("3", NAN, None), False, "nan"),
    ],
)
def test_a_fall_of_f1_below_the_champion_is_stopped(made, limits, former, passes, found):
    context = own(profile(made, **limits), "safety_eval")
    gate = gates.evaluate(context, "safety_eval", [predecessor(context, former)])
    assert gate.passed is passes
    rows = [row for row in gate.rows if row["part"] == "predecessor"]
    assert rows
    assert {row["found"] for row in rows} == {found}
    assert passes or any("predecessor" in line and found in line for line in gate.failures)


@pytest.fixture(scope="module")
def graph(root):
    return definitions(root).resolve_asset_graph()


def after(graph, name):
    """What Dagster has downstream of an artifact, at any remove."""
    found, todo = set(), [dg.AssetKey(name)]
    while todo:
        for key in graph.get(todo.pop()).child_keys - found:
            found.add(key)
            todo.append(key)
    return {key.to_user_string() for key in found}


def test_every_gate_has_a_suite_bad_data_and_a_blocking_check(graph):
    assert {bad.artifact for bad in BAD} == set(SUITES) == set(GATED)
    for name in STEPS:
        keys = graph.get_check_keys_for_assets([dg.AssetKey(name)])
        assert [graph.get_check_spec(key).blocking for key in keys] == [True] * (name in GATED)


ONE_EACH = {bad.artifact: bad for bad in BAD}


@pytest.mark.parametrize("artifact", GATED)
def test_all_that_dagster_has_after_a_failed_gate_is_stopped(
    graph, artifact, outcomes, outcome_of, monkeypatch
):
    """One run of all assets, as they are declared; the artifacts lie there, one of them bad."""
    root, bad = outcome_of(ONE_EACH[artifact])
    assert not bad.passed
    given = []

    def reuse(workspace, name, variant):
        given.append(name)
        gate = bad if name == artifact else outcomes.get(name)
        return execute.Outcome(root, {}, gate, "as it lies", reused=True)

    opened = lambda *_: SimpleNamespace(root=root)  # noqa: E731
    monkeypatch.setattr(resources.Workspace, "open", opened)
    monkeypatch.setattr(resources, "require_inputs", lambda *_: None)
    monkeypatch.setattr(resources, "reuse", reuse)
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            dg.load_assets_from_package_module(assets),
            # Not the names: a string is parsed, by a parser that another package's version breaks.
            selection=dg.AssetSelection.assets(*STEPS),
            partition_key="rbr",
            resources={"pipeline": resources.Pipeline(root=str(root))},
            instance=instance,
            raise_on_error=False,
        )
    assert not result.success
    assert set(given) == set(STEPS) - after(graph, artifact)
    assert artifact == "model_release" or "model_release" not in given
    (check,) = [c for c in result.get_asset_check_evaluations() if not c.passed]
    assert check.asset_key == dg.AssetKey(artifact)
    assert check.metadata["failed"].value.splitlines() == bad.failures
    assert (root / check.metadata["data_docs"].value).is_file()


def test_a_release_whose_own_gate_fails_moves_no_champion(tmp_path, monkeypatch):
    moved = []
    failed = {"part": "p", "what": "w", "found": "f", "passed": False, "note": ""}
    monkeypatch.setattr(execute, "run_step", lambda *_: {"rbr_ppo.f1_star": 0.8})
    monkeypatch.setattr(execute, "notify", lambda *_: None)
    monkeypatch.setattr(execute, "_release", lambda *_: moved.append(1))
    verdict = {}
    monkeypatch.setattr(
        execute.gates, "evaluate", lambda *_: gates.Gate(verdict["passed"], [failed])
    )
    run = SimpleNamespace(
        run_id="run", **dict.fromkeys(("metrics", "files", "tags"), lambda _: None)
    )
    run.table = lambda *_: None
    tracking = SimpleNamespace(step=lambda *_: nullcontext(run))
    versions = SimpleNamespace(hashes=lambda _: {}, data_version=lambda _: "v")
    workspace = execute.Workspace(tmp_path, "made", Settings(), versions, tracking)
    for verdict["passed"], moves in ((False, []), (True, [1])):
        made = execute.make(workspace, "model_release", None, "graph", print, commit=False)
        assert made.gate.passed is verdict["passed"]
        assert moved == moves


UPSTREAM = [stage for stage in execute.all_needed("model_release") if stage.split("@")[0] in GATED]


@pytest.mark.parametrize("failed", UPSTREAM)
def test_nothing_is_released_after_a_failed_gate(tmp_path, monkeypatch, failed):
    moved = []
    monkeypatch.setattr(execute.registry, "champion", lambda *_: None)
    monkeypatch.setattr(execute.registry, "promote", lambda *_: moved.append(1) or "1")
    monkeypatch.setattr(execute, "notify", lambda *_: None)
    versions = SimpleNamespace(
        data_versions=lambda stages: dict.fromkeys(stages, "v"), data_version=lambda stage: "v"
    )
    tracking = SimpleNamespace(client=None, finish=lambda *_: None)
    workspace = execute.Workspace(tmp_path, "made", Settings(), versions, tracking)
    run = SimpleNamespace(run_id="run", tags=lambda _: None, message=None)
    given = (workspace, Context(tmp_path, Settings()), run, {"rbr_ppo.f1_star": 0.8}, "graph")
    for stage in UPSTREAM:
        store(tmp_path, stage, execute.gate_key(workspace, "v"), gates.Gate(stage != failed))
    with pytest.raises(GateError, match=f"the gate of '{failed}' did not pass"):
        execute._release(*given)
    assert moved == []
    store(tmp_path, failed, execute.gate_key(workspace, "v"), gates.Gate(True))
    execute._release(*given)
    assert moved == [1]


def test_a_verdict_holds_for_its_data_thresholds_and_code(made, monkeypatch):
    asked, data = [], ["v"]
    monkeypatch.setattr(
        execute.gates, "evaluate", lambda context, name: asked.append(name) or gates.Gate(True)
    )
    versions = SimpleNamespace(restore=lambda stage: data[-1])
    workspace = execute.Workspace(made.root, "made", Settings(), versions, None)
    for _ in range(2):
        assert execute.reuse(workspace, "sft_checkpoint", "rbr").gate.passed
    assert asked == ["sft_checkpoint"]
    data.append("other data")
    execute.reuse(workspace, "sft_checkpoint", "rbr")
    stricter = replace(workspace, settings=Settings(gates=Gates(sft_loss_ratio_max=0.5)))
    execute.reuse(stricter, "sft_checkpoint", "rbr")
    monkeypatch.setattr(execute.gates, "code_digest", lambda: "other code")
    execute.reuse(stricter, "sft_checkpoint", "rbr")
    assert len(asked) == 4
