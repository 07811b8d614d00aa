"""The impact of a rule change follows the declared dependencies, as DVC sees them."""

import pytest
import yaml

from assets import graph
from orchestration.dvc_yaml import render
from orchestration.impact import affected_artifacts, changed_sections
from pipeline.variants import VARIANTS
from rbr.rules import load_rules
from rbr.rules.compiled import compiled


@pytest.fixture(scope="module")
def artifacts():
    return graph(tuple(VARIANTS))


def stale_stages(artifacts, section):
    """Outputs of the stages of ``dvc.yaml`` that a changed section makes stale."""
    stages = yaml.safe_load(render(artifacts))["stages"]
    changed, stale = {f"data/rules/{section}.json"}, set()
    while True:
        more = {
            name
            for name, stage in stages.items()
            if name not in stale and changed & set(stage["deps"])
        }
        if not more:
            return stale
        stale |= more
        # What the simulated annotators say does not depend on grades.
        changed |= {
            output
            for name in more
            for output in stages[name]["outs"]
            if name != "human_preferences"
            or section in ("completions", "policy", "response_types", "roles")
        }


def test_what_is_affected_is_what_dvc_makes_again(rules, artifacts):
    by_stage = {artifact.stage: key for key, artifact in artifacts.items()}
    reading = set()
    for section in compiled(rules, "transformers"):
        affected = affected_artifacts(artifacts, {section})
        assert len(affected) == len(set(affected))
        assert set(affected) == {by_stage[name] for name in stale_stages(artifacts, section)}
        reading |= {section} if affected else set()
    assert {"names", "propositions", "classes", "policy", "features", "ranking"} <= reading


def test_inputs_come_before_what_reads_them(artifacts):
    affected = affected_artifacts(artifacts, {"policy"})
    for position, key in enumerate(affected):
        assert not set(artifacts[key].inputs) & set(affected[position:])


def test_a_wording_is_read_by_a_fitted_prompt_and_not_by_a_fitted_head(rules_folder, rules):
    path = rules_folder / "propositions" / "judgement.yaml"
    text = path.read_text()
    path.write_text(text.replace("The answer calls the request", "The answer says that it is"))
    assert path.read_text() != text
    now = load_rules(rules_folder)
    assert changed_sections(rules, now, "head") == {"propositions"}
    assert changed_sections(rules, now, "transformers") == {"propositions", "asked"}
