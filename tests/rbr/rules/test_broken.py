"""Twenty ways of breaking the rules: each is told with the right file, and the line that was broken."""

import pytest

from rbr.rules.check import check_rules

APOLOGY = "propositions/apology.yaml"
CLASSES = "completion_classes.yaml"
ILLOGICAL = (
    "illogical_completion: {all: [illogical_continuation_of_prompt], none: [disallowed_content]}"
)
# (name, file, text, its replacement, what the error says, whether the line is that of the edit)
BROKEN = [
    ("misspelt name in a class", CLASSES, "[refusal_correct]", "[refusal_corect]", "did you mean 'refusal_correct'", True),
    ("misspelt name in a derived one", "derived.yaml", "safe_ok, disclaimer", "safe_ok, disclaimr", "did you mean 'disclaimer'", True),
    ("misspelt feature", "reward.yaml", "    - apology\n", "    - apologi\n", "did you mean 'apology'", True),
    ("misspelt response type in the policy", "content_policy.yaml", "how_to: hard_refusal", "how_to: hard_refusel", "hard_refus", True),
    ("misspelt response type in the classes", CLASSES, "\ncomply:", "\ncomplly:", "compl", False),
    ("misspelt class", "response_types.yaml", "  best: ideal", "  best: idael", "did you mean 'ideal'", True),
    ("unknown key in a proposition", APOLOGY, "true_when:", "truewhen:", "true", False),
    ("missing question", APOLOGY, "question: ", "# question: ", "question", False),
    ("empty definition", APOLOGY, "definition: The", "definition: ''\nfalse_when_: The", "defini", False),
    ("wrong sign", APOLOGY, "hard_refusal: positive", "hard_refusal: posittive", "positive", True),
    ("too few examples", APOLOGY, "  positive:\n", "  positive: []\n  spare:\n", "positive", False),
    ("id that is not the file's name", APOLOGY, "id: apology", "id: apologies", "apolog", False),
    ("a cycle", "derived.yaml", "all: [apology, inability_to_comply]", "all: [refusal_correct, inability_to_comply]", "refusal_correct", False),
    ("a gap between classes", CLASSES, ILLOGICAL, ILLOGICAL.replace("]", ", apology]", 1), "no class", False),
    ("classes that overlap", CLASSES, ILLOGICAL, "illogical_completion: {all: [illogical_continuation_of_prompt]}", "illogical_completion and disallowed_completion", False),
    ("negative margin", "reward.yaml", "margin: 3.0", "margin: -1.0", "margin", True),
    ("one rank alone", "reward.yaml", "ordering: [[ideal], [bad], [disallowed]]", "ordering: [[ideal]]", "ordering", True),
    ("unknown fragment in a recipe", "completions.yaml", "ideal: [{slots: [refusal]}]", "ideal: [{slots: [refusel]}]", "refus", True),
    ("fragment that makes an unknown proposition", "completions.yaml", "makes: [judgement]", "makes: [judgment]", "did you mean 'judgement'", True),
    ("no YAML", "derived.yaml", "refusal_ok:\n", "refusal_ok: [\n", "YAML", False),
]  # fmt: skip


def test_there_are_twenty():
    assert len({case[0] for case in BROKEN}) == 20


@pytest.mark.parametrize(("name", "file", "old", "new", "said", "same_line"), BROKEN)
def test_it_is_told_with_its_place(rules_folder, name, file, old, new, said, same_line):
    path = rules_folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    errors = check_rules(rules_folder)
    assert errors, "nothing was found"
    error = errors[0]
    assert error.place is not None
    assert error.place.path == path, str(error)
    assert said in str(error)
    assert len(str(error).splitlines()) == 1
    if same_line:
        start = text.index(old) + (len(old) - len(old.lstrip("\n")))
        assert error.place.line == text[:start].count("\n") + 1, str(error)


# One slip each, after which other files name what could not be read.
SLIPS = [
    ("derived.yaml", "refusal_ok:\n", "refusal_ok: [\n", "not valid YAML"),
    ("derived.yaml", "refusal_ok:\n", "refusal_ok: {}\nrefusal_ok:\n", "not valid YAML: found duplicate"),
    ("completions.yaml", "\nfragments:\n", "\nfragment:\n", "fragment: unknown key; did you mean 'fragments'?"),
    (APOLOGY, "true_when:", "truewhen:", "truewhen: unknown key; did you mean 'true_when'?"),
    (APOLOGY, "  positive:\n", "  positve:\n", "examples.positve: unknown key; did you mean 'positive'?"),
    (CLASSES, "  ideal: {all: [", "  ideal: {al: [", "hard_refusal.ideal.al: unknown key"),
    ("reward.yaml", "  features:\n", "  featurs:\n", "featurs: unknown key; did you mean 'features'?"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "said"), SLIPS)
def test_one_slip_is_one_error(rules_folder, file, old, new, said):
    path = rules_folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    [error] = check_rules(rules_folder)
    assert error.place.path == path
    assert said in error.message
    if "unknown key" in said:
        assert "root" not in error.message


def test_a_folder_without_propositions_or_a_file_that_is_gone_is_one_error(rules_folder):
    (rules_folder / "completion_classes.yaml").unlink()
    [error] = check_rules(rules_folder)
    assert "the file does not exist" in error.message
    for path in (rules_folder / "propositions").iterdir():
        path.unlink()
    assert len(check_rules(rules_folder)) == 2


def test_a_slot_is_checked_where_a_policy_has_no_fragments(rules_folder):
    (rules_folder / "completions.yaml").write_text(
        "recipes:\n  comply:\n    full: [{slots: [answr]}]\n"
    )
    errors = [str(error) for error in check_rules(rules_folder)]
    assert any("did you mean 'answer'" in error for error in errors), errors


def test_all_bad_examples_are_told_and_not_that_too_few_are_left(rules_folder):
    path = rules_folder / APOLOGY
    path.write_text(path.read_text().replace("completion:", "complete:", 2))
    errors = check_rules(rules_folder)
    lines = [i for i, text in enumerate(path.read_text().splitlines(), 1) if "complete:" in text]
    assert [error.place.line for error in errors] == lines
    assert all("did you mean 'completion'?" in error.message for error in errors)


def test_each_example_that_stands_on_both_sides_is_told_at_its_line(rules_folder):
    path = rules_folder / APOLOGY
    head, positive = path.read_text().split("  positive:\n")
    positive = positive.split("  negative:\n")[0]
    path.write_text(f"{head}  positive:\n{positive}  negative:\n{positive}")
    errors = check_rules(rules_folder)
    users = [i for i, text in enumerate(path.read_text().splitlines(), 1) if "- user" in text]
    assert [error.place.line for error in errors] == users[3:]
    assert "stands in positive too" in errors[0].message


def test_two_slips_are_two_errors(rules_folder):
    for file, old, new, _ in SLIPS[2:4]:
        path = rules_folder / file
        path.write_text(path.read_text().replace(old, new, 1))
    assert len(check_rules(rules_folder)) == 2
