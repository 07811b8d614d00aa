"""Every expectation of every gate: made-up bad data fails it, and stops what comes after; no model."""

import functools
import shutil
from dataclasses import replace
from fnmatch import fnmatchcase as like

import dagster as dg
import jinja2
import pytest

from assets import declarations, graph
from orchestration import code_digests, gate_runs
from orchestration.dagster_assets import asset_key
from orchestration.definitions import JOB, definitions
from orchestration.dvc_yaml import write as write_dvc_yaml
from orchestration.gate_runs import GateOutcome
from orchestration.lineage import registry
from orchestration.materialize import Workspace, gate_key, make, require_gates, restore
from orchestration.terminal import problems_of
from pipeline.artifact import upstream
from pipeline.profile import Gates
from pipeline.release.champion import Champion
from pipeline.variants import MAIN, VARIANTS
from rbr.errors import GateError
from rbr.evaluation.paired import Difference
from tests.orchestration.bad_data import BAD, CANNOT_FAIL, NAN, Bad, change, with_
from tests.orchestration.conftest import Workspace as CommandLine
from tests.orchestration.conftest import make_workspace
from tests.orchestration.made import GATES, MadeUp, key_of, make_all, write

GRAPH = graph(tuple(VARIANTS))
# The gate of an external set is tested beside its asset: no set is named here.
GATED = [d.name for d in declarations() if d.expectations and not d.per_set]


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


def copied(made, folder):
    shutil.copytree(made.root, folder, ignore=shutil.ignore_patterns("gx", ".cache"))
    return MadeUp(folder, made.settings)


@pytest.fixture
def made(good, tmp_path):
    """The good artifacts, to be broken."""
    return copied(good, tmp_path / "made")


@pytest.fixture(scope="module")
def outcome_of(good, tmp_path_factory):
    """A gate's outcome of bad data, and the folder of its data docs; evaluated once for each."""

    @functools.cache
    def evaluate(bad):
        broken = copied(good, tmp_path_factory.mktemp("bad") / "made")
        return broken.root, gate_runs.evaluate(bad.apply(broken))

    return evaluate


@pytest.fixture(scope="module")
def outcomes(good):
    """Each gate's outcome of good data."""
    return {name: gate_runs.evaluate(good.context(name)) for name in GATED}


def named(row):
    return f"{row['part']}: {row['what']}"


def test_good_data_passes_every_gate(outcomes):
    assert {name: gate.failures for name, gate in outcomes.items() if not gate.passed} == {}


def test_results_are_kept_as_data_docs(good, outcomes):
    gate = outcomes["safety_prompts"]
    assert (good.root / gate.docs).is_file()
    assert gate.docs.endswith(".html")
    limits = {row["limit"]: row["value"] for row in gate.rows if "comply_share" in row["what"]}
    assert any(limit.startswith(">= ") and 0 < value < 1 for limit, value in limits.items())


def test_every_expectation_of_every_gate_has_bad_data(outcomes):
    assert {bad.artifact for bad in BAD} == set(GATED)
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
    [alarm] = {row["alarm"] for row in meant}
    # What only warns stops nothing.
    assert gate.passed is alarm
    gate = gate.only(alarm)
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
    "gold_support": (6, "gold_propositions", "support: * >= 6"),
    "gold_rare_support": (10, "gold_propositions", "support of the rarest: * >= 10"),
    "grader_accuracy_min": (0.95, "grader_accuracy", "mean: accuracy >= 0.95 *"),
    "grader_proposition_min": (0.95, "grader_accuracy", "propositions: accuracy >= 0.95 *"),
    "nonsense_best_max": (0.03, "grader_accuracy", "word salad: nonsense_best_share >= 0 *"),
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
    "capability_loss_margin": (0.05, "capability_eval", "capability: *.loss_rise <= 0.05"),
    "fluency_drop_max": (0.05, "safety_eval", "fluency: *.fluency_drop <= 0.05"),
}
# Says which propositions the two limits of support are for; one belongs to a lower limit, and the other two
# need a champion (below).
NO_LIMIT = {"gold_rare_count", "comply_share_max", "f1_loss_max", "f1_drop_max"}


def test_every_threshold_is_tested():
    assert set(THRESHOLDS) | NO_LIMIT == set(Gates.model_fields)


@pytest.mark.parametrize("artifact", sorted({gated for _, gated, _ in THRESHOLDS.values()}))
def test_thresholds_are_the_profiles(made, artifact):
    limits = {name: limit for name, (limit, gated, _) in THRESHOLDS.items() if gated == artifact}
    if artifact == "synthetic_comparisons":
        path = made.folder(artifact) / "train.jsonl"
        change(path, lambda rows: [{**rows[0], "confirmed": False}, *rows[1:]])
    gate = gate_runs.evaluate(made.with_gates(**limits).context(artifact))
    failed = {named(row) for row in gate.rows if not row["passed"]}
    fails = [THRESHOLDS[name][2] for name in limits]
    assert [pattern for pattern in fails if not any(like(row, pattern) for row in failed)] == []
    assert [row for row in failed if not any(like(row, pattern) for pattern in fails)] == []


@pytest.mark.parametrize(("most", "passes"), [(0.6, False), (0.7, True)])
def test_how_many_prompts_are_to_be_answered_at_most_is_the_profiles(made, most, passes):
    gate = gate_runs.evaluate(made.with_gates(comply_share_max=most).context("safety_prompts"))
    assert [named(row) for row in gate.rows if not row["passed"]] == (
        [] if passes else ["balance: comply_share >= 0.45 and <= 0.6"]
    )


@pytest.mark.parametrize("least", [0, 0.1])
def test_prompts_may_do_without_forms_where_the_profile_asks_for_none(made, least):
    for path in made.folder("safety_prompts").glob("*.jsonl"):
        change(path, lambda rows: [{k: row[k] for k in row if k != "form"} for row in rows])
    gate = gate_runs.evaluate(made.with_gates(lookalike_share_min=least).context("safety_prompts"))
    failed = [named(row).split(" ")[1] for row in gate.rows if not row["passed"]]
    assert failed == (["lookalike_share"] if least else [])


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
    gate = gate_runs.evaluate(made.with_gates(**limits).context("safety_eval", former))
    assert gate.passed is passes
    rows = [row for row in gate.rows if row["part"] == "predecessor"]
    assert rows
    assert {row["found"] for row in rows} == {found}
    assert passes or any("predecessor" in line and found in line for line in gate.failures)


@pytest.fixture(scope="module")
def committed(root, tmp_path_factory):
    """A project whose made-up artifacts DVC has, and whose gates all passed."""
    target = tmp_path_factory.mktemp("committed") / "project"
    command_line = make_workspace(root, target)
    made = make_all(root, target)
    write_dvc_yaml(target)
    code_digests.write(target)
    done = command_line.run("-m", "dvc", "commit", "-q", "-f")
    assert done.returncode == 0, done.stderr
    workspace = Workspace.open(target)
    for artifact in workspace.graph.values():
        found = restore(workspace, artifact)
        assert found is not None, artifact.key
        assert found.gate is None or found.gate.passed, found.gate.failures
    return made


@pytest.fixture
def project(committed, tmp_path, monkeypatch):
    """A copy of that project, to be broken."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(
        committed.root, tmp_path / "project", ignore=shutil.ignore_patterns("gx"), symlinks=True
    )
    return MadeUp(tmp_path / "project", committed.settings)


def commit(project, *keys):
    """Let DVC take artifacts as they are now."""
    stages = [project.graph[key].stage for key in keys]
    done = CommandLine(project.root).run("-m", "dvc", "commit", "-q", "-f", *stages)
    assert done.returncode == 0, done.stderr


def groups():
    """Gated artifacts, in groups of which none rests on another of the same."""
    levels = {}
    for key, artifact in GRAPH.items():
        if artifact.gate and artifact.variant in (None, MAIN):
            above = [levels[name] for name in upstream(GRAPH, key) if name in levels]
            levels[key] = max(above, default=-1) + 1
    return [[k for k in levels if levels[k] == level] for level in sorted(set(levels.values()))]


def test_each_gate_is_a_blocking_check_and_belongs_to_a_group(committed):
    assets = definitions(committed.root).resolve_asset_graph()
    for key, artifact in GRAPH.items():
        checks = assets.get_check_keys_for_assets([asset_key(artifact)])
        blocking = [check.name for check in checks if assets.get_check_spec(check).blocking]
        assert blocking == (["gate"] if artifact.gate else []), key
    grouped = [key for group in groups() for key in group]
    assert sorted(grouped) == sorted(key_of(name) for name in GATED)


# A file of the artifact, not of the sources: that would be other input.
ONE_EACH = {key_of(bad.artifact): bad for bad in reversed(BAD) if bad.file[0] != "/"}


@pytest.mark.parametrize("broken", groups(), ids=", ".join)
def test_all_that_dagster_has_after_a_failed_gate_is_stopped(project, broken):
    """One run of bad artifacts that DVC has, and of all that rests on them."""
    for key in broken:
        ONE_EACH[key].apply(project)
    commit(project, *broken)
    stopped = [key for key in GRAPH if set(upstream(GRAPH, key)) & set(broken)]
    assert broken == ["model_release"] or "model_release" in stopped
    with dg.DagsterInstance.ephemeral() as instance:
        result = (
            definitions(project.root)
            .resolve_job_def(JOB)
            .execute_in_process(
                instance=instance,
                asset_selection=[asset_key(GRAPH[key]) for key in (*broken, *stopped)],
                raise_on_error=False,
            )
        )
    assert not result.success
    events = result.get_asset_materialization_events()
    assert {event.asset_key.to_user_string() for event in events} == set(broken)
    failed = {
        check.asset_key.to_user_string(): check
        for check in result.get_asset_check_evaluations()
        if not check.passed
    }
    assert set(failed) == set(broken)
    for key, check in failed.items():
        lines = [line.removeprefix("- ") for line in check.description.splitlines()]
        assert check.metadata["failures"].value == len(lines)
        assert any(like(line, f"{ONE_EACH[key].fails}*") for line in lines), lines
        assert (project.root / check.metadata["data_docs"].value).is_file()


def test_a_raised_alarm_is_a_warning_with_its_figures_and_stops_nothing(project):
    changes = {"reward": (1.0, 0.6, 1.4), "ideal": (-0.3, -0.5, -0.1), "fluency": (0.0, -0.1, 0.1)}
    write(project.folder("safety_eval") / "over_optimisation.json", {"changes": changes})
    commit(project, "rbr/safety_eval")
    with dg.DagsterInstance.ephemeral() as instance:
        result = (
            definitions(project.root)
            .resolve_job_def(JOB)
            .execute_in_process(
                instance=instance, asset_selection=[asset_key(GRAPH["rbr/safety_eval"])]
            )
        )
    assert result.success
    assert problems_of(result) == []
    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    assert checks["gate"].passed
    alarm = checks["reward_hacking"]
    assert (alarm.passed, alarm.severity) == (False, dg.AssetCheckSeverity.WARN)
    figures = {name: alarm.metadata[name].value for name in ("reward_change", "ideal_change")}
    assert figures == {"reward_change": 1.0, "ideal_change": -0.3}
    assert alarm.metadata["ideal_fall"].value == pytest.approx(0.1)
    assert alarm.metadata["fluency_fall"].value == 0
    assert "ideal changes by -0.3 (-0.5 to -0.1) while reward changes by +1" in alarm.description
    require_gates(Workspace.open(project.root), RELEASE)


RELEASE = GRAPH["model_release"]
UPSTREAM = [key for key in upstream(GRAPH, RELEASE.key) if GRAPH[key].gate]


@pytest.mark.parametrize("failed", UPSTREAM)
def test_a_release_requires_that_every_gate_upstream_passed(committed, failed):
    workspace, stage = Workspace.open(committed.root), GRAPH[failed].stage
    require_gates(workspace, RELEASE)
    key = gate_key(workspace, GRAPH[failed], workspace.versions.data_version(stage))
    passed = gate_runs.stored(workspace.root, stage, key)
    for outcome, other in ((GateOutcome(False), key), (passed, f"another {key}")):
        gate_runs.store(workspace.root, stage, other, outcome)
        with pytest.raises(GateError, match=f"the gate of '{failed}' did not pass"):
            require_gates(workspace, RELEASE)
    gate_runs.store(workspace.root, stage, key, passed)
    require_gates(workspace, RELEASE)


def versions_of(workspace):
    """The champion of the profile, and all registered versions."""
    client, model = workspace.tracking.client, registry.model_of(workspace.profile)
    champion = registry.champion(client, workspace.profile)
    versions = client.search_model_versions(f"name = '{model}'")
    return champion and champion.version, sorted(version.version for version in versions)


def test_no_champion_moves_before_the_gates_of_the_release_and_of_all_upstream_passed(project):
    write(project.folder("safety_eval") / "ppo.jsonl", [])
    commit(project, "rbr/safety_eval")
    workspace = Workspace.open(project.root)
    restore(workspace, GRAPH["rbr/safety_eval"])
    good = (project.folder("model_release") / "comparison.json").read_text()

    def release(comparison):
        """Make a release whose comparison is given."""

        def body(context, output):
            (output / "comparison.json").write_text(comparison)
            (output / "model_card.md").write_text("A card.")
            return {"rbr_ppo.f1_star": 0.8}

        return make(workspace, replace(RELEASE, body=body), "graph", print, commit=True)

    bad = release(good.replace("0.8", "1.5"))
    assert not bad.gate.passed
    assert versions_of(workspace) == (None, [])
    bad_gate = Bad("judge", "metrics.json", with_(refusal_accuracy=0.1), "", "")
    passing = (project.folder("judge") / "metrics.json").read_text()
    bad_gate.apply(project)
    commit(project, "judge")
    assert not restore(workspace, GRAPH["judge"]).gate.passed
    with pytest.raises(GateError, match="the gate of 'judge' did not pass"):
        release(good)
    assert versions_of(workspace) == (None, [])
    write(project.folder("judge") / "metrics.json", passing)
    commit(project, "judge")
    assert restore(workspace, GRAPH["judge"]).gate.passed
    assert release(good).gate.passed
    assert versions_of(workspace) == (1, [1])


def test_a_verdict_holds_for_its_data_thresholds_and_code(project, monkeypatch):
    evaluated, evaluate = [], gate_runs.evaluate

    def counted(context):
        evaluated.append(context.artifact.key)
        return evaluate(context)

    monkeypatch.setattr(gate_runs, "evaluate", counted)
    workspace, sft = Workspace.open(project.root), GRAPH["rbr/sft_checkpoint"]
    assert restore(workspace, sft).gate.passed
    assert evaluated == []
    change(project.folder("sft_checkpoint") / "metrics.json", with_(loss_last=1.2))
    commit(project, sft.key)
    assert [restore(workspace, sft).gate.passed for _ in range(2)] == [True, True]
    assert evaluated == [sft.key]
    limits = Gates(**GATES, sft_loss_ratio_max=0.5)
    stricter = replace(workspace, settings=workspace.settings.model_copy(update={"gates": limits}))
    assert [restore(stricter, sft).gate.passed for _ in range(2)] == [False, False]
    assert len(evaluated) == 2
    monkeypatch.setattr(code_digests, "gate_digest", lambda artifact: "another gate")
    assert [restore(stricter, sft).gate.passed for _ in range(2)] == [False, False]
    assert len(evaluated) == 3
