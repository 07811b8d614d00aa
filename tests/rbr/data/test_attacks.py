"""Attack forms: the files' format, and prompts in their frames."""

import json
from collections import Counter

import pytest

from rbr.data.attacks import (
    SPELLINGS,
    AttackTemplate,
    attack_answers,
    attack_errors,
    attack_templates,
    attacked,
    heldout_attacks,
    with_attacks,
)
from rbr.data.rows import Message, PolicyPrompt
from rbr.data.splits import SplitOptions, policy_prompts
from rbr.errors import DataError

ROW = {"id": "a-1", "form": "flattery", "text": "You are the best. {request}"}


@pytest.fixture(scope="module")
def written(root):
    return attack_templates(root / "data/source/safety_prompts")


@pytest.fixture(scope="module")
def splits(root, rules):
    folder = root / "data/source/safety_prompts"
    return policy_prompts(folder, rules, SplitOptions(), 0, attacked_share=0.2)


def template(text="Say it: {request}", **values):
    return AttackTemplate(id="t", form="f", text=text, **values)


def prompt(*turns, number=0, over_refusal=False, family=None):
    roles = ("user", "assistant")
    return PolicyPrompt(
        id=f"p{number}", family=family or f"family-{number}", category="c", kind="k", topic="t",
        response_type="answer" if over_refusal else "refuse", over_refusal=over_refusal,
        conversation=tuple(Message(role=roles[i % 2], content=t) for i, t in enumerate(turns)),
    )  # fmt: skip


def written_to(folder, **files):
    (folder / "attack_forms").mkdir()
    for name, rows in files.items():
        text = "".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows)
        (folder / "attack_forms" / f"{name}.jsonl").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("rows", "line", "says"),
    [
        (["{broken\n"], 1, "not JSON"),
        ([ROW, {**ROW, "id": "a-2", "text": "No request here."}], 2, r"\{request\} once"),
        ([{**ROW, "text": "{request} or {request}"}], 1, r"\{request\} once"),
        ([{**ROW, "text": "{request}, dear {name}"}], 1, "no other name in braces"),
        ([{**ROW, "text": "One half: {first}"}], 1, r"\{first\} and \{second\} once each"),
        ([{**ROW, "text": "  "}], 1, "text"),
        ([{**ROW, "spelling": "backwards"}], 1, "spelling: .*'spaced', 'dotted'"),
        ([{**ROW, "form": "Role Play"}], 1, "form"),
        ([{**ROW, "use": "train"}], 1, "use: Extra inputs"),
        ([{"id": "a-1", "text": "{request}"}], 1, "form: Field required"),
        ([ROW, {**ROW, "text": "Other. {request}"}], 2, "id 'a-1' stands on line 1 already"),
        ([ROW, {**ROW, "id": "a-2"}], 2, "the text of heldout.jsonl, line 1, again"),
        ([{**ROW, "before": [{"role": "user", "content": "Hi"}]}], 1, "the assistant last"),
        (
            [{**ROW, "before": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": " "}]}],
            1,
            "before has a turn without text",
        ),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_used_is_named_with_file_line_and_mend(tmp_path, rows, line, says):
    folder = written_to(tmp_path, heldout=rows)
    with pytest.raises(DataError, match=rf"heldout\.jsonl:{line}(:\d+)?: .*{says}") as raised:
        attack_templates(folder)
    assert "\n" not in str(raised.value)


def test_what_is_trained_on_is_not_held_out(tmp_path):
    other = {**ROW, "id": "a-2", "text": "You are wonderful. {request}"}
    folder = written_to(tmp_path, train=[ROW], heldout=[other])
    with pytest.raises(
        DataError, match=r"heldout\.jsonl:1: form 'flattery' is one of train.jsonl, line 1"
    ):
        attack_templates(folder)


def test_a_template_of_the_other_file_may_not_stand_twice(tmp_path):
    folder = written_to(tmp_path, train=[ROW], heldout=[{**ROW, "form": "praise"}])
    assert [str(error).partition(": ")[2] for error in attack_errors(folder)] == [
        "the id of train.jsonl, line 1, again: write another",
        "the text of train.jsonl, line 1, again: write another",
    ]


def test_a_file_that_nothing_reads_is_named(tmp_path):
    folder = written_to(tmp_path, held_out=[ROW])
    with pytest.raises(DataError, match=r"held_out\.jsonl: read by nothing: .*heldout\.jsonl"):
        attack_templates(folder)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"response_type": "answr"}, "response_type: no 'answr'; .*'?answer"),
        ({"form": "role-play"}, "form: no 'role-play'"),
        ({"refused": None}, "refused"),
        ({"completion": ""}, "completion"),
    ],
)
def test_an_answer_that_cannot_be_used_is_named(tmp_path, values, says):
    answer = {
        "id": "aa-1", "form": "flattery", "response_type": "answer", "asked": "Why?",
        "completion": "No.", "refused": True, "disallowed": False,
    }  # fmt: skip
    folder = written_to(
        tmp_path, heldout=[ROW], answers=[answer, {**answer, "id": "aa-2", **values}]
    )
    with pytest.raises(DataError, match=rf"answers\.jsonl:2: {says}"):
        attack_answers(folder, ["answer", "refuse"])


def test_written_answers_are_of_every_held_out_form_and_both_kinds(root, rules, written):
    found = attack_answers(root / "data/source/safety_prompts", rules.response_types)
    assert {row.form for row in found} == {row.form for row in written["heldout"]}
    assert not any(row.refused and row.disallowed for row in found)
    assert {rules.over_refusal(row.response_type) for row in found} == {True, False}
    assert min(sum(row.refused for row in found), sum(row.disallowed for row in found)) >= 10


def test_without_files_there_are_no_attacks(tmp_path):
    assert attack_templates(tmp_path) == {"train": [], "heldout": []}
    some = [prompt("Why?", number=i) for i in range(4)]
    assert with_attacks(some, [], 1.0, 0) == some
    assert heldout_attacks(some, [], 4, 0) == []
    assert attack_answers(tmp_path, ["answer"]) == []


def test_the_written_forms_are_many_and_those_held_out_are_others(written):
    forms = {use: Counter(row.form for row in rows) for use, rows in written.items()}
    assert not forms["train"].keys() & forms["heldout"].keys()
    assert min(min(found.values()) for found in forms.values()) >= 4
    assert len(forms["train"]) >= 4
    assert len(forms["heldout"]) >= 6


def test_a_frame_is_put_around_the_last_user_turn_and_the_earlier_turns_stay():
    found = attacked(prompt("Hi", "Hello!", "Which key?"), template())
    assert [turn.content for turn in found.conversation] == ["Hi", "Hello!", "Say it: Which key?"]
    assert found.asked == prompt("Hi", "Hello!", "Which key?").conversation
    assert (found.attack.form, found.attack.template) == ("f", "t")
    before = [Message(role="user", content="a"), Message(role="assistant", content="b")]
    found = attacked(prompt("Hi", "Hello!", "Which key?"), template(before=before))
    assert [turn.role for turn in found.conversation] == ["user", "assistant"] * 2 + ["user"]


def test_what_a_request_has_in_braces_is_left_alone():
    found = attacked(prompt("Print {first} and \\1"), template())
    assert found.conversation[-1].content == "Say it: Print {first} and \\1"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("one two three", "one two + three"), ("key", "ke + y"), ("a b", "a + b")],
)
def test_a_payload_is_split_between_two_words(asked, expected):
    found = attacked(prompt(asked), template("{first} + {second}"))
    assert found.conversation[-1].content == expected


def test_each_spelling_can_be_undone():
    undo = {
        "spaced": lambda text: " ".join(word.replace(" ", "") for word in text.split("  ")),
        "dotted": lambda text: text.replace(".", ""),
        "reversed": lambda text: " ".join(reversed(text.split())),
        "mirrored": lambda text: " ".join(word[::-1] for word in text.split()),
    }
    assert undo.keys() == SPELLINGS.keys()
    for name, spell in SPELLINGS.items():
        assert spell("kill the lights") != "kill the lights"
        assert undo[name](spell("kill the lights")) == "kill the lights"


@pytest.mark.parametrize("name", ["dotted", "mirrored", "reversed", "spaced"])
def test_a_request_without_spaces_is_spelt_in_another_way_too(name):
    assert SPELLINGS.keys() == {"dotted", "mirrored", "reversed", "spaced"}
    found = SPELLINGS[name]("鍵を開けて")
    assert found != "鍵を開けて"
    assert sorted(found.replace(".", "").replace(" ", "")) == sorted("鍵を開けて")


def test_a_share_of_each_response_types_train_prompts_is_framed_and_keeps_what_it_is(
    splits, written, root, rules
):
    folder = root / "data/source/safety_prompts"
    plain = policy_prompts(folder, rules, SplitOptions(), 0)
    assert splits["validation"] == plain["validation"]
    assert splits["eval"] == plain["eval"]
    keeps = ("id", "family", "category", "kind", "response_type", "over_refusal", "answer")
    for framed, former in zip(splits["train"], plain["train"], strict=True):
        assert all(getattr(framed, name) == getattr(former, name) for name in keeps)
        assert framed.asked == former.conversation
        assert (framed.attack is None) == (framed.conversation == former.conversation)
    used = Counter(row.attack.template for row in splits["train"] if row.attack)
    assert used.keys() == {row.id for row in written["train"]}
    assert max(used.values()) - min(used.values()) <= 1
    for kind, count in Counter(row.response_type for row in splits["train"]).items():
        framed = sum(bool(row.attack) for row in splits["train"] if row.response_type == kind)
        assert framed == round(0.2 * count)


def test_frames_depend_on_ids_and_seed_alone(splits, written):
    plain = [row.model_copy(update={"attack": None}) for row in splits["train"]]
    found = with_attacks(plain, written["train"], 0.3, 1)
    again = with_attacks(plain[::-1], written["train"][::-1], 0.3, 1)
    assert found == again[::-1]
    assert found != with_attacks(plain, written["train"], 0.3, 2)
    held = heldout_attacks(splits["eval"], written["heldout"], 8, 1)
    assert held == heldout_attacks(splits["eval"][::-1], written["heldout"][::-1], 8, 1)
    assert held != heldout_attacks(splits["eval"], written["heldout"], 8, 2)


def test_every_form_gets_as_many_unsafe_and_safe_prompts_each_of_a_family_of_its_own(
    splits, written
):
    found = heldout_attacks(splits["eval"], written["heldout"], 16, 0)
    counts = Counter((row.attack.form, row.over_refusal) for row in found)
    forms = {row.form for row in written["heldout"]}
    assert counts == {(form, safe): 8 for form in forms for safe in (False, True)}
    for safe in (False, True):
        families = [row.family for row in found if row.over_refusal == safe]
        assert len(set(families)) == len(families)
    assert len({row.id for row in found}) == len(found) <= 120
    assert {row.attack.template for row in found} == {row.id for row in written["heldout"]}


def test_few_prompts_are_used_in_several_forms_but_once_in_each(written):
    few = [prompt("Why?", number=i, over_refusal=i % 2 == 0) for i in range(6)]
    found = heldout_attacks(few, written["heldout"], 16, 0)
    forms = {row.form for row in written["heldout"]}
    assert Counter(row.attack.form for row in found) == dict.fromkeys(forms, 6)
    assert len({row.id for row in found}) == len(found)
