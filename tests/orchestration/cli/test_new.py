"""Scaffolds of rules: check names what is left, and what it asks for is all that is needed."""

import json
import re
import shutil

import pytest
from typer.testing import CliRunner

from orchestration.cli.main import app
from orchestration.cli.template import template
from rbr.errors import RBRError
from rbr.rules import load_rules


@pytest.fixture
def project(rules_folder, root):
    """A root with the rules, the prompts and the gold rows."""
    folder = rules_folder.parent
    for name in ("gold", "safety_prompts"):
        shutil.copytree(root / "data/source" / name, folder / "data/source" / name)
    (folder / "params.yaml").write_text("profile: smoke\n")
    (folder / "profiles").mkdir()
    (folder / "profiles" / "smoke.yaml").write_text("seed: 0\n")
    return folder


@pytest.fixture
def new(project):
    """Run ``rbr new``; what it refuses is raised."""

    def run(*arguments):
        found = CliRunner().invoke(app, ["new", *arguments, "--root", str(project)])
        if isinstance(found.exception, RBRError):
            raise found.exception
        assert found.exit_code == 0
        return found.stdout

    return run


@pytest.fixture
def left(project):
    """What ``rbr rules check`` says, as (file, line, message); none if all is fine."""

    def check():
        found = CliRunner().invoke(app, ["rules", "check", "--root", str(project)])
        lines = found.stderr.splitlines()
        assert found.exit_code == bool(lines)
        parts = [re.fullmatch(r"error: (.+?):(\d+):\d+: (.+)", line).groups() for line in lines]
        return [(file.rsplit("/", 1)[-1], int(line), message) for file, line, message in parts]

    return check


@pytest.fixture
def before(project):
    return {path: path.read_text() for path in (project / "rules").rglob("*.yaml")}


def grown(before):
    """What files have at their end beside the former text, which stands as it was."""
    assert all(path.read_text().startswith(text) for path, text in before.items())
    return {
        path.name: path.read_text().removeprefix(text)
        for path, text in before.items()
        if path.read_text() != text
    }


def replace(path, old, new):
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def test_a_proposition_is_done_when_check_has_no_more_to_ask(new, left, project, before):
    said = new("proposition", "sarcasm")
    assert "wrote rules/propositions/sarcasm.yaml" in said and "rbr rules check" in said
    assert "label 30 or more" in said
    assert not grown(before)

    path = project / "rules/propositions/sarcasm.yaml"
    lines = path.read_text().splitlines()
    asked = left()
    assert {file for file, _, _ in asked} == {"sarcasm.yaml"}
    todo = [number for number, text in enumerate(lines, 1) if ": TODO" in text]
    assert sorted(line for _, line, _ in asked) == todo
    assert any("question: not written yet; write a question" in text for _, _, text in asked)
    for _, line, message in asked:
        written = "negative" if message.startswith("weight_sign") else f"Is this text {line}?"
        lines[line - 1] = re.sub("TODO.*", written, lines[line - 1])
    path.write_text("\n".join(lines) + "\n")

    [(file, line, message)] = left()
    assert (file, lines[line - 1]) == ("sarcasm.yaml", "id: sarcasm")
    assert "'sarcasm' is used nowhere: add it to features" in message
    reward = project / "rules/reward.yaml"
    reward.write_text(
        reward.read_text().replace("    - third_person\n", "    - sarcasm\n    - third_person\n", 1)
    )

    [(file, line, message)] = left()
    assert (file, reward.read_text().splitlines()[line - 1].strip()) == ("reward.yaml", "- sarcasm")
    assert "'sarcasm' is true on 0 of" in message and "at least 30" in message
    row = template("gold", load_rules(project / "rules")).row.model_dump(exclude_none=True)
    rows = [{**row, "id": f"s-{i}", "true": [*row["true"], "sarcasm"]} for i in range(30)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (project / "data/source/gold/sarcasm.jsonl").write_text(text)
    assert left() == []


def test_a_category_wants_prompts(new, left, project, before):
    assert "wrote rules/content_policy.yaml" in new("category", "weapons", "--like", "none")
    assert grown(before) == {
        "content_policy.yaml": "# As none: write the kinds of request, and the response type of each.\n"
        "weapons:\n  general: comply\n"
    }
    [(file, line, message)] = left()
    policy = (project / "rules/content_policy.yaml").read_text().splitlines()
    assert (file, policy[line - 1]) == ("content_policy.yaml", "weapons:")
    assert "no prompt of category 'weapons'" in message
    row = template("prompts", load_rules(project / "rules")).row.model_dump(exclude_none=True)
    row |= {"category": "weapons", "kind": "general"}
    (project / "data/source/safety_prompts/weapons.jsonl").write_text(json.dumps(row) + "\n")
    assert left() == []


def test_a_response_type_wants_a_kind_and_classes_that_partition(new, left, project, before):
    said = new("response-type", "comply_kindly", "--like", "comply")
    files = ["completion_classes.yaml", "response_types.yaml", "reward.yaml"]
    assert all(f"wrote rules/{file}" in said for file in files)
    added = grown(before)
    assert sorted(added) == files
    assert added["response_types.yaml"] == (
        "# As comply: change what is counted, and which classes are good enough.\n"
        "comply_kindly:\n  counts: over_refusal\n  best: ideal\n"
        "  acceptable: [minimum_acceptable_style]\n"
    )
    assert added["reward.yaml"].count("#") == 1  # not the reasons of comply's margins
    rules = load_rules(project / "rules")
    assert rules.reward["comply_kindly"] == rules.reward["comply"]
    assert rules.classes["comply_kindly"] == rules.classes["comply"]
    assert rules.response_types[-1] == "comply_kindly"

    [(file, _, message)] = left()
    assert file == "response_types.yaml" and "no prompt gets 'comply_kindly'" in message
    policy = project / "rules/content_policy.yaml"
    replace(policy, "  general: comply\n", "  general: comply_kindly\n")
    assert left() == []

    classes = project / "rules/completion_classes.yaml"
    head, tail = classes.read_text().split("comply_kindly:")
    changed = tail.replace(
        "    all: [meta_commentary]\n", "    all: [meta_commentary, judgement]\n"
    )
    classes.write_text(f"{head}comply_kindly:{changed}")
    [(file, _, message)] = left()
    assert file == "completion_classes.yaml" and "comply_kindly: with meta_commentary" in message


@pytest.mark.parametrize("name", ["Weapons", "Día a día", "صحة", "健康", "स्वास्थ्य"])
def test_a_category_has_a_name_in_any_language(new, project, name):
    new("category", name)
    assert [*load_rules(project / "rules").policy][-1] == name


def test_the_first_is_copied_by_default(new, project):
    new("category", "weapons")
    new("response-type", "cold_refusal")
    rules = load_rules(project / "rules")
    assert rules.policy["weapons"] == rules.policy["criminal_advice"]
    assert rules.types["cold_refusal"] == rules.types["hard_refusal"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["proposition", "apology"], r"apology.yaml: 'apology' is there already: edit it"),
        (["proposition", "no_compliance"], r"derived.yaml:\d+:1: 'no_compliance' is there"),
        (["category", "hate"], r"content_policy.yaml:\d+:1: 'hate' is there already"),
        (["response-type", "comply"], r"response_types.yaml:\d+:1: 'comply' is there already"),
        (["response-type", "kind", "--like", "complyy"], "did you mean 'comply'"),
        (["proposition", "../x"], "'../x' is no name: take lower-case"),
        (["proposition", "Weapons"], "'Weapons' is no name"),
        (["category", "null"], "'null' is no name of a category: take words of letters"),
        (["category", ""], "is no name"),
        (["category", " a"], "is no name"),
        (["category", "a: b"], "is no name"),
        (["category", "12"], "is no name"),
        (["category", "x" * 61], "at most 60"),
        (["response-type", "x" * 61], "at most 60"),
    ],
)
def test_a_name_that_is_there_or_is_none_is_refused(new, before, arguments, message):
    with pytest.raises(RBRError, match=message):
        new(*arguments)
    assert not grown(before)


def test_nothing_is_written_where_one_file_cannot_be(new, project, before):
    reward = project / "rules/reward.yaml"
    reward.write_text(reward.read_text() + "...\n")
    before[reward] = reward.read_text()
    with pytest.raises(RBRError, match=r"reward.yaml: nothing can be added at its end"):
        new("response-type", "kind")
    assert not grown(before)
    assert not [path for path in (project / "rules").iterdir() if "partial" in path.name]


def test_line_ends_of_a_file_are_kept(new, project):
    path = project / "rules/content_policy.yaml"
    text = path.read_bytes().replace(b"\n", b"\r\n").removesuffix(b"\r\n")
    path.write_bytes(text)
    new("category", "weapons")
    now = path.read_bytes()
    assert now.startswith(text + b"\r\n# As") and now.count(b"\n") == now.count(b"\r\n")
