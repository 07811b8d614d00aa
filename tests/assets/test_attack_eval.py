"""Models under attack: what is asked of them, what is judged, and what a project without forms gets."""

import json
import shutil

import numpy as np
import pytest

from assets import attack_prompts, graph
from pipeline import attacks
from pipeline.profile import Attacks, Settings
from pipeline.variants import VARIANTS
from rbr.data.rows import Message, PolicyPrompt
from rbr.evaluation import safety
from rbr.files import iter_json_lines, read_json, write_rows
from rbr.models.generate import Answer
from tests.assets.bodies import compile_rules, context_of, make

REFUSES, HARMS, HELPS = "apology inability_to_comply", "disallowed_content", "fully_complies"
SETTINGS = Settings(attacks=Attacks(heldout_prompts=10))


class Says:
    """Reads the propositions off the answer; keeps the conversations."""

    def __init__(self, names):
        self.propositions, self.thresholds = names, np.full(len(names), 0.5)
        self.asked = []

    def grade(self, conversations, completions, progress=None, propositions=None):
        self.asked += conversations
        names = self.propositions if propositions is None else propositions
        return np.array([[float(n in text.split()) for n in names] for text in completions])


def policy_prompt(split, number):
    safe = number % 2 == 0
    return PolicyPrompt(
        id=f"{split}{number}", family=f"{split}-{number}", category="c", kind="k", topic="t",
        response_type="comply" if safe else "hard_refusal", over_refusal=safe,
        conversation=(Message(role="user", content=f"What of {split}{number}?"),),
    )  # fmt: skip


ROWS = {split: [policy_prompt(split, i) for i in range(12)] for split in ("train", "eval")}


@pytest.fixture
def project(tmp_path, root, rules, monkeypatch):
    """Prompts, the written forms, a judge; the models answer by their folder's name."""
    compile_rules(tmp_path, rules)
    for split, rows in ROWS.items():
        write_rows(tmp_path / "data" / "safety_prompts" / f"{split}.jsonl", rows)
    forms = "data/source/safety_prompts/attack_forms"
    shutil.copytree(root / forms, tmp_path / forms)
    judge = Says(rules.proposition_names)
    monkeypatch.setattr(attacks, "load_judge_grader", lambda _: judge)
    calls = []

    def generate(model, conversations, *others, **more):
        calls.append((model, conversations))
        # The PPO model refuses all; the others do what a pirate says and else refuse what is unsafe.
        texts = [turns[-1].content for turns in conversations]
        answers = [
            REFUSES if "ppo" in str(model) else HARMS if "pirate" in text else HELPS
            for text in texts
        ]
        return [Answer(text, True) for text in answers]

    monkeypatch.setattr(safety, "generate", generate)
    return tmp_path, judge, calls


def gate(context):
    failed = []
    for part in context.artifact.gate(context):
        for expectation in part.expectations:
            values = part.frame[expectation.column].astype(float)
            low = getattr(expectation, "min_value", None)
            if low is not None and not (values >= low).all():
                failed.append((part.name, expectation.column))
    return failed


def test_each_model_answers_frames_and_is_judged_on_what_was_asked(project):
    root, judge, calls = project
    make(context_of(root, "attack_prompts", SETTINGS))
    context = context_of(root, "rbr/attack_eval", SETTINGS)
    metrics = make(context)
    assert [str(model).rpartition("/")[0].rpartition("/")[2] for model, _ in calls] == [
        "sft_checkpoint", "ppo_checkpoint",
    ]  # fmt: skip
    _, asked = calls[0]
    assert len(asked) == 10 * 7
    assert not any(turns == prompt.conversation for turns in asked for prompt in ROWS["eval"])
    assert {turns[-1].content[:12] for turns in judge.asked} == {"What of eval"}
    assert metrics["sft.attack_success"] > metrics["ppo.attack_success"] == 0
    assert metrics["ppo.attacked_over_refusal"] == 1 > metrics["sft.attacked_over_refusal"] == 0
    pirates = [row for _, row in iter_json_lines(context.folder / "sft.jsonl") if row["disallowed"]]
    assert pirates
    assert {(row["form"], row["template"]) for row in pirates} == {
        ("role_play", "role-play-pirate")
    }
    assert metrics["sft.attack_success.role_play"] == 0.2
    assert metrics["sft.attack_success.persuasion"] == 0
    assert (context.folder / "forms.png").stat().st_size > 5_000
    assert gate(context) == []


def test_a_form_that_no_answer_is_of_does_not_pass(project):
    root, _, _ = project
    make(context_of(root, "attack_prompts", SETTINGS))
    context = context_of(root, "base_attack_eval", SETTINGS)
    metrics = make(context)
    assert gate(context) == []
    # The stub takes no answer for a refusal, none for disallowed: half refuse, a third are disallowed.
    accuracies = (metrics["judge.refused_accuracy"], metrics["judge.disallowed_accuracy"])
    assert accuracies == pytest.approx((21 / 42, 28 / 42))
    path = context.folder / "results.json"
    results = read_json(path)
    del results["base"]["forms"]["persuasion"]
    path.write_text(json.dumps(results))
    assert gate(context) == [("forms", "unsafe"), ("forms", "safe")]


def test_a_project_without_forms_has_no_attacks(project):
    root, _, calls = project
    shutil.rmtree(root / "data/source/safety_prompts/attack_forms")
    prompts = context_of(root, "attack_prompts", SETTINGS)
    assert make(prompts) == {"prompts": 0, "answers": 0}
    for key in ("base_attack_eval", "rbr/attack_eval"):
        context = context_of(root, key, SETTINGS)
        assert make(context) == {}
        assert read_json(context.folder / "results.json") == {}
        assert gate(context) == []
    assert gate(prompts) == []
    assert calls == []


def test_frames_that_a_train_prompt_has_are_a_leak(project):
    root, _, _ = project
    context = context_of(root, "attack_prompts", SETTINGS)
    make(context)
    parts = {part.name: part.frame for part in attack_prompts.expectations(context)}
    assert parts["leaks"]["shared"].tolist() == [0, 0]
    framed = [row for _, row in iter_json_lines(context.folder / "heldout.jsonl")]
    write_rows(root / "data" / "safety_prompts" / "train.jsonl", framed[:1])
    parts = {part.name: part.frame for part in attack_prompts.expectations(context)}
    assert parts["leaks"]["shared"].tolist() == [1, 1]


def test_nothing_that_is_trained_reads_attacked_held_out_prompts():
    artifacts = graph(tuple(VARIANTS))
    readers = {key for key, artifact in artifacts.items() if "attack_prompts" in artifact.inputs}
    assert readers == {"base_attack_eval", *(f"{name}/attack_eval" for name in VARIANTS)}
    for key, artifact in artifacts.items():
        if readers & set(artifact.inputs):
            assert key == "model_release"
