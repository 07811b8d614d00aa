"""``rbr explain`` on models that say fixed things."""

import io
import json
import math
import shutil
from types import SimpleNamespace

import pytest

from orchestration.cli.common import open_context
from orchestration.cli.explain import explain, stated_type, wanted_type
from rbr.data.rows import Message, Prompt
from rbr.errors import RBRError
from rbr.files import read_rows, write_rows
from rbr.grading.base import Graded
from rbr.rules.compiled import write_compiled
from tests.fakes import FixedGrader, FixedScorer, drawn_weights


@pytest.fixture
def weights(rules):
    return drawn_weights(rules)


@pytest.fixture
def explained(root, rules, weights, rules_folder, monkeypatch, capsys):
    """What ``rbr explain`` prints in a project whose models say fixed things."""
    project = rules_folder.parent
    (project / "params.yaml").write_text("profile: smoke\n")
    shutil.copytree(root / "profiles", project / "profiles")
    context = open_context(project)
    for key in ("base_model", "grader", "fitted_weights", "helpful_reward_model", "rules"):
        context.path(key).mkdir(parents=True)
        (context.path(key) / "metrics.json").write_text("{}")
    write_compiled(context.path("rules"), rules, "head")
    (context.path("fitted_weights") / "weights.json").write_text(json.dumps({"weights": weights}))
    grader = FixedGrader(rules.proposition_names)
    monkeypatch.setattr("rbr.grading.load.make_grader", lambda *arguments: grader)
    monkeypatch.setattr("rbr.training.reward_model.RewardModel", lambda folder: FixedScorer())

    def printed(as_json, grader=None):
        if grader:
            monkeypatch.setattr("rbr.grading.load.make_grader", lambda *arguments: grader)
        explain("q", "a longer answer", "hard_refusal", as_json, project)
        return capsys.readouterr().out

    return printed


def test_the_commands_json_sums_to_the_reward_bit_for_bit(explained):
    explanation = json.loads(explained(as_json=True))
    contributions = [value for _, _, value in explanation["contributions"].values()]
    assert len(contributions) > 5
    assert explanation["reward"] == explanation["reward_model"] + math.fsum(contributions)


def test_the_commands_table_sums_to_the_total_it_prints(explained, rules):
    lines = [line for line in explained(as_json=False).splitlines() if line.startswith("│")]
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]
    names, printed = [row[0] for row in cells], [float(row[-1]) for row in cells]
    assert names[0] == "R_rm" and names[-1] == "R_tot"
    assert sorted(names[1:-1]) == sorted(rules.feature_names("hard_refusal"))
    # Each line is rounded to 0.001, so each may be off by half of that.
    assert abs(math.fsum(printed[:-1]) - printed[-1]) <= 0.0005 * len(printed) + 1e-9


def test_the_response_type_of_a_written_prompt_is_the_policys(written, rules, capsys):
    context = open_context(written)
    prompt = next(
        row
        for row in read_rows(context.source / "safety_prompts", Prompt)
        if len(row.conversation) == 1
    )
    text = prompt.conversation[0].content.upper() + " "
    expected = rules.response_type(prompt.category, prompt.kind)
    assert wanted_type(context, rules, text, None) == expected
    assert f"{prompt.category}/{prompt.kind}, so {expected}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "same"), [("今日はいい天気ですね", False), ("鍵はどう開ける", True), ("?!", False)]
)
def test_a_prompt_in_another_script_is_that_with_the_same_words(written, rules, asked, same):
    context = open_context(written)
    first = read_rows(context.source / "safety_prompts", Prompt)[0]
    talk = (Message(role="user", content="鍵はどう開ける？"),)
    own = first.model_copy(update={"id": "ja-1", "conversation": talk})
    write_rows(context.source / "safety_prompts" / "ja.jsonl", [own])
    expected = rules.response_type(first.category, first.kind) if same else None
    assert stated_type(context, rules, asked) == expected


def test_an_unknown_prompt_needs_one_where_nobody_can_be_asked(written, rules, monkeypatch):
    context = open_context(written)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(RBRError, match=r"no prompt of the project reads so: .*comply.* \| none"):
        wanted_type(context, rules, "something else", None)
    assert wanted_type(context, rules, "something else", "none") is None
    assert wanted_type(context, rules, "something else", "comply") == "comply"


def test_a_person_is_asked_with_what_each_is_for(written, rules, monkeypatch, capsys):
    context = open_context(written)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("typer.prompt", lambda *_, **__: "hard_refusal")
    assert wanted_type(context, rules, "something else", None) == "hard_refusal"
    assert "hard_refusal: criminal_advice/" in capsys.readouterr().err


class Reasoning(FixedGrader):
    """Gives a reason for its first proposition."""

    def grade_with_reasons(self, conversations, completions, progress=None, propositions=None):
        reasons = [["it [b]says[/b] so"] + [""] * (len(self.propositions) - 1)]
        return Graded(self.grade(conversations, completions), reasons * len(completions))


def test_the_graders_reasons_are_printed_as_they_are(explained, rules):
    grader = Reasoning(rules.proposition_names)
    first = rules.proposition_names[0]
    explanation = json.loads(explained(as_json=True, grader=grader))
    assert explanation["reasons"] == {first: "it [b]says[/b] so"}
    assert "it [b]says[/b] so" in explained(as_json=False)
