"""Templates of source rows: valid under the project's own rules, whatever their names are."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from orchestration.cli.main import app
from orchestration.cli.template import TEMPLATES, template
from rbr.data.gold import check_gold
from rbr.data.rows import Preference
from rbr.data.splits import prompt_errors
from rbr.errors import RBRError
from rbr.files import read_rows, write_rows
from rbr.rules import load_rules


@pytest.fixture(params=["rules", "tests/policies/german/rules", "examples/assistant/rules"])
def policy(request, root):
    return load_rules(root / request.param)


@pytest.fixture
def folder(tmp_path):
    """A folder with the rows of a template."""

    def write(found):
        write_rows(tmp_path / "rows.jsonl", [found.row])
        return tmp_path

    return write


def test_a_prompt_fits_the_policy_and_has_every_field(policy, folder):
    found = template("prompts", policy)
    assert not list(prompt_errors(folder(found), policy))
    assert policy.over_refusal(policy.response_type(found.row.category, found.row.kind))
    assert json.loads(found.row.model_dump_json(exclude_none=True)).keys() == found.fields.keys()


def test_a_policy_without_prompts_to_comply_with_gets_one_without_an_answer(rules_folder, folder):
    policy = rules_folder / "content_policy.yaml"
    policy.write_text("hate: {hateful_content: hard_refusal}\n")
    rules = load_rules(rules_folder)
    found = template("prompts", rules)
    assert not list(prompt_errors(folder(found), rules))
    assert (found.row.category, found.row.answer, found.row.form) == ("hate", None, None)


def test_a_gold_row_keeps_the_relations_and_is_what_it_says(policy, folder):
    found = template("gold", policy)
    check_gold(folder(found), policy)
    assert policy.means("refused", found.row.true)
    assert all(f"\n{name}: " in found.fields["true"] for name in policy.proposition_names)


def test_a_preference_is_one(policy, folder):
    assert len(read_rows(folder(template("preferences", policy)), Preference)) == 1


@pytest.mark.parametrize("name", TEMPLATES)
def test_fields_are_those_of_the_row(policy, name):
    found = template(name, policy)
    assert found.fields.keys() == type(found.row).model_fields.keys()


def test_a_name_that_is_not_there_gets_the_closest(rules):
    with pytest.raises(RBRError, match="did you mean 'prompts'"):
        template("prompt", rules)


def test_the_row_alone_goes_to_stdout(root, tmp_path):
    shutil.copytree(root / "tests/policies/german/rules", tmp_path / "rules")
    (tmp_path / "params.yaml").write_text("profile: smoke\n")
    found = CliRunner().invoke(app, ["data", "template", "gold", "--root", str(tmp_path)])
    assert found.exit_code == 0
    [line] = found.stdout.splitlines()
    assert json.loads(line)["true"] == ["verweigert"]
    assert "entschuldigt" in found.stderr
