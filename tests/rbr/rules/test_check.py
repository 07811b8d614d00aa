"""The shipped rules are sound, and each way of breaking them is told with its place."""

import re

import pytest

from rbr.errors import RuleError
from rbr.rules import load_rules
from rbr.rules.check import check_rules


def edit(path, old, new):
    text = path.read_text()
    assert old in text, f"{path} has no {old!r}"
    path.write_text(text.replace(old, new, 1))


def only_error(folder):
    errors = check_rules(folder)
    assert errors
    return errors[0]


def test_the_shipped_rules_are_sound(root, rules):
    assert check_rules(root / "rules") == []
    assert len(rules.propositions) == 23
    assert len(rules.response_types) == 4
    assert all(len(rules.class_names(name)) == 5 for name in rules.response_types)


def test_an_unknown_proposition_is_named_with_the_closest_one(rules_folder):
    path = rules_folder / "completion_classes.yaml"
    edit(path, "all: [disallowed_content]", "all: [disalowed_content]")
    error = only_error(rules_folder)
    line = next(i for i, text in enumerate(path.read_text().splitlines(), 1) if "disalowed" in text)
    assert error.place.path == path
    assert error.place.line == line
    assert "did you mean 'disallowed_content'" in str(error)


def test_an_unknown_key_is_named_with_line_and_file(rules_folder):
    path = rules_folder / "propositions" / "apology.yaml"
    edit(path, "true_when:", "true_whenn:")
    error = only_error(rules_folder)
    assert re.search(r"apology\.yaml:\d+", str(error))


def test_a_cycle_among_derived_propositions_is_told(rules_folder):
    path = rules_folder / "derived.yaml"
    text = path.read_text()
    assert "refusal_ok:" in text
    path.write_text(re.sub(r"(refusal_ok:\s*\n\s*all: \[)", r"\1refusal_correct, ", text, count=1))
    if path.read_text() == text:
        path.write_text(text.replace("refusal_ok: {all: [", "refusal_ok: {all: [refusal_correct, "))
    assert path.read_text() != text
    assert "refusal_ok" in str(only_error(rules_folder))
    assert "cycle" in str(only_error(rules_folder)) or "itself" in str(only_error(rules_folder))


def test_classes_that_leave_a_gap_give_a_counter_example(rules_folder):
    path = rules_folder / "completion_classes.yaml"
    edit(
        path,
        "illogical_completion: {all: [illogical_continuation_of_prompt], none: [disallowed_content]}",
        "illogical_completion: {all: [illogical_continuation_of_prompt, apology],"
        " none: [disallowed_content]}",
    )
    error = only_error(rules_folder)
    assert "hard_refusal" in str(error)
    assert "no class" in str(error)
    assert "illogical_continuation_of_prompt true" in str(error).replace(",", "")


def test_classes_that_overlap_give_a_counter_example(rules_folder):
    edit(
        rules_folder / "completion_classes.yaml",
        "illogical_completion: {all: [illogical_continuation_of_prompt], none: [disallowed_content]}",
        "illogical_completion: {all: [illogical_continuation_of_prompt]}",
    )
    assert "illogical_completion and disallowed_completion" in str(only_error(rules_folder))


def test_loading_broken_rules_raises_the_first_error(rules_folder):
    (rules_folder / "reward.yaml").write_text("hard_refusal: [")
    with pytest.raises(RuleError, match=r"reward\.yaml"):
        load_rules(rules_folder)


def test_a_comment_changes_no_hash_and_a_proposition_only_its_own(rules_folder, rules):
    path = rules_folder / "propositions" / "apology.yaml"
    path.write_text("# a remark\n" + path.read_text())
    assert load_rules(rules_folder).hashes() == rules.hashes()
    edit(path, "question: ", "question: Well, ")
    changed = load_rules(rules_folder).hashes()
    differing = {name for name, value in changed.items() if value != rules.hashes()[name]}
    assert differing == {"propositions/apology"}


def test_a_margin_changes_the_ranking_alone(rules_folder, rules):
    path = rules_folder / "reward.yaml"
    text = path.read_text()
    match = re.search(r"margin: ([0-9.]+)", text)
    assert match
    path.write_text(text.replace(match.group(0), "margin: 1.75", 1))
    changed = load_rules(rules_folder).hashes()
    assert {n for n, v in changed.items() if v != rules.hashes()[n]} == {"ranking"}


def test_all_problems_of_a_file_are_found_each_at_its_line(rules_folder):
    path = rules_folder / "completion_classes.yaml"
    edit(path, "all: [disallowed_content]", "all: [disalowed_content]")
    edit(path, "all: [disallowed_content]", "all: [disallowed_conten]")
    edit(rules_folder / "reward.yaml", "margin: 3.0", "margin: -1.0")
    errors = check_rules(rules_folder)
    lines = [i for i, text in enumerate(path.read_text().splitlines(), 1) if "conten]" in text]
    lines += [i for i, text in enumerate(path.read_text().splitlines(), 1) if "disalow" in text]
    assert [e.place.line for e in errors if e.place.path == path] == sorted(lines)
    assert any("margin" in str(e) for e in errors)


def test_a_broken_proposition_is_the_only_problem_told(rules_folder):
    path = rules_folder / "propositions" / "apology.yaml"
    edit(path, "question: ", "question_: ")
    assert {error.place.path for error in check_rules(rules_folder)} == {path}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    - apology\n", "    - apology\n    - apology\n", "'apology' stands twice"),
        ("[[ideal], [bad], ", "[[ideal], [bad, ideal], ", "stands on two ranks"),
        ("[[ideal], [bad], ", "[[ideal], [worse], ", "the same labels: bad, worse"),
    ],
)
def test_rewards_that_contradict_themselves_are_told(rules_folder, old, new, message):
    edit(rules_folder / "reward.yaml", old, new)
    errors = check_rules(rules_folder)
    assert any(message in str(error) for error in errors)
    assert all(error.place.line for error in errors)


def test_a_derived_proposition_has_a_name_of_its_own_and_can_hold(rules_folder):
    path = rules_folder / "derived.yaml"
    path.write_text(path.read_text() + "apology: {all: [judgement], none: []}\n")
    assert "'apology' is a proposition already" in str(only_error(rules_folder))
    text = path.read_text().replace(
        "apology: {all: [judgement], none: []}", "x: {all: [apology], none: [apology]}"
    )
    path.write_text(text)
    assert "apology stand in all and in none" in str(only_error(rules_folder))
    assert only_error(rules_folder).place.line == len(text.splitlines())
