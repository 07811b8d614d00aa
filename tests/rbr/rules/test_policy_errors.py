"""What is wrong with a policy of one's own is told in one line: file, line, what is wrong, how to mend it."""

import json
import shutil
from pathlib import Path

import pytest

from rbr.data.gold import gold_errors
from rbr.data.splits import prompt_errors
from rbr.rules import load_rules
from rbr.rules.check import check_rules

GERMAN = Path(__file__).parents[2] / "policies" / "german"
TYPES, ROLES, RELATIONS = (f"rules/{n}.yaml" for n in ("response_types", "roles", "relations"))
CLASSES, REWARD, POLICY = (
    f"rules/{n}.yaml" for n in ("completion_classes", "reward", "content_policy")
)
PROMPTS, GOLD = "data/safety_prompts/alle.jsonl", "data/gold/gold.jsonl"
COMPOSED = """fragments: {nein: {makes: [verweigert], texts: [Nein.]}}
recipes: {antworten: {bestens: [{slots: [answer]}], unnuetz: [{slots: [nein]}]}}
"""
# (name, file, text, its replacement, what is said, the line it is said of: None is that of the edit)
BROKEN = [
    ("no role for refusals", ROLES, "refused: verweigert\n", "", "refused: missing; name what says that an answer refuses", 1),
    ("no role for what is disallowed", ROLES, "disallowed: verboten\n", "", "disallowed: missing; name what says", 1),
    ("a role of an unknown proposition", ROLES, "refused: verweigert", "refused: verweigern", "did you mean 'verweigert'", None),
    ("an unknown role", ROLES, "nonsense:", "nonsens:", "did you mean 'nonsense'", None),
    ("an exclusion of an unknown proposition", RELATIONS, "[beantwortet, unsinn]", "[beantwortet, unsin]", "did you mean 'unsinn'", None),
    ("an implication that can never hold", RELATIONS, "excludes:", "implies: {unsinn: [beantwortet]}\nexcludes:", "'unsinn' could never hold", 1),
    ("an unknown way to count", TYPES, "counts: over_refusal", "counts: overrefusal", "'unsafe' or 'over_refusal'", None),
    ("an unknown best class", TYPES, "best: gut\n  acceptable", "best: gutt\n  acceptable", "'ablehnen' has no completion class 'gutt'; did you mean 'gut'", None),
    ("an unknown acceptable class", TYPES, "[knapp]", "[knap]", "did you mean 'knapp'", None),
    ("a best class that is only acceptable", TYPES, "[knapp]", "[gut]", "'gut' is the best class: drop it here", None),
    ("a response type without classes", TYPES, "antworten:", "weiterleiten: {counts: unsafe, best: gut}\nantworten:", "no entry for response type weiterleiten: add one", f"{CLASSES}:1"),
    ("classes of an unknown response type", CLASSES, "antworten:", "antwort:", "no response type 'antwort'; did you mean 'antworten'", None),
    ("a kind of an unknown response type", POLICY, "anleitung: ablehnen", "anleitung: ablehne", "no response type 'ablehne'; did you mean 'ablehnen'", None),
    ("a sign for an unknown response type", "rules/propositions/unsinn.yaml", "{ablehnen: neg", "{ablehne: neg", "did you mean 'ablehnen'", None),
    ("four classes that leave a gap", CLASSES, "{none: [abgelehnt, verboten]}", "{all: [unsinn], none: [abgelehnt, verboten]}", "falls in no class", 1),
    ("three classes that overlap", CLASSES, "{all: [beantwortet], none: [verboten]}", "{all: [beantwortet]}", "falls in gut and schlimm", 6),
    ("a label of an unknown class", REWARD, "[knapp, schlecht]", "[knapp, schlech]", "'ablehnen' has no completion class 'schlech'; did you mean 'schlecht'", None),
    ("a label without a rank", REWARD, "    unnuetz: [schlecht]\n", "", "labels and ordering must name the same labels: unnuetz", 8),
    ("a prompt of an unknown category", PROMPTS, '"straftaten", "kind": "anleitung"', '"straftat", "kind": "anleitung"', "no category 'straftat'; did you mean 'straftaten'", None),
    ("a prompt of a kind that is gone", POLICY, "  auskunft: antworten\n", "", "category 'straftaten' has no kind 'auskunft'", f"{PROMPTS}:2"),
    ("a gold row of a response type that is gone", GOLD, '"antworten", "conversation": [{"role": "user", "content": "Wie', '"antwort", "conversation": [{"role": "user", "content": "Wie', "no response type 'antwort'; did you mean 'antworten'", None),
    ("a gold row of an unknown proposition", GOLD, '["verboten"]', '["verbotn"]', "no proposition 'verbotn'; did you mean 'verboten'", None),
    ("a gold row that contradicts itself", GOLD, '["beantwortet"]', '["beantwortet", "verweigert"]', "cannot both hold: drop one", None),
    ("a refused prompt with an answer", PROMPTS, '"einen Einbruch"', '"einen Einbruch", "answer": "So.", "partial": "S."', "the policy gives it 'ablehnen', not to be answered: drop answer, partial and form", None),
    ("a recipe whose role nothing plays", "rules/completions.yaml", "", COMPOSED.replace("answer", "partial"), "slot 'partial' needs the role 'partly_complied': name it in roles.yaml", 2),
]  # fmt: skip


def problems(folder):
    """What ``rbr rules check`` says of rules and data."""
    errors = check_rules(folder / "rules")
    if not errors:
        rules = load_rules(folder / "rules")
        errors = [
            *prompt_errors(folder / "data" / "safety_prompts", rules),
            *gold_errors(folder / "data" / "gold", rules),
        ]
    return errors


def test_nothing_is_wrong_with_it():
    assert problems(GERMAN) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "said", "line"), [c[1:] for c in BROKEN], ids=[c[0] for c in BROKEN]
)
def test_it_is_told_in_one_line_with_its_place(tmp_path, file, old, new, said, line):
    folder = shutil.copytree(GERMAN, tmp_path / "project")
    path = folder / file
    text = path.read_text() if path.exists() else ""
    assert old in text
    path.write_text(text.replace(old, new, 1))
    where = (
        line
        if isinstance(line, str)
        else f"{file}:{line or text[: text.index(old)].count(chr(10)) + 1}"
    )
    told = [str(error) for error in problems(folder)]
    found = [text for text in told if text.startswith(f"{folder}/{where}:") and said in text]
    assert found, told
    assert len(found[0].splitlines()) == 1


def test_a_recipe_that_takes_answers_names_the_prompt_that_lacks_them(tmp_path):
    folder = shutil.copytree(GERMAN, tmp_path / "project")
    (folder / "rules" / "completions.yaml").write_text(COMPOSED)
    assert problems(folder) == []
    prompts = folder / PROMPTS
    rows = [json.loads(line) for line in prompts.read_text().splitlines()]
    rows[1] = {name: rows[1][name] for name in rows[1] if name not in ("answer", "partial")}
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (told,) = [str(error) for error in problems(folder)]
    said = "the recipes of 'antworten' take answer and partial from the prompt"
    assert told.startswith(f"{prompts}:2:") and said in told


@pytest.mark.parametrize("name", ["response_types", "roles", "completion_classes", "reward"])
def test_a_file_that_is_not_there_is_one_line_alone(tmp_path, name):
    folder = shutil.copytree(GERMAN, tmp_path / "project")
    path = folder / "rules" / f"{name}.yaml"
    path.unlink()
    assert [str(error) for error in problems(folder)] == [f"{path}: the file does not exist"]
