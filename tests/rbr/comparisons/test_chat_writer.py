"""Comparisons written by a chat model: what is asked, what is kept, what it takes."""

import json
import re
from dataclasses import replace

import pytest
from pydantic import ValidationError

from rbr.comparisons.chat_writer import WITHHELD, ChatWriter, plain_answer
from rbr.comparisons.conditioned import (
    FRAME_WORDS,
    rejection_sample,
    requests_without_recipes,
)
from rbr.comparisons.options import ChatWriterOptions
from rbr.comparisons.synthetic import requested
from rbr.errors import ServerError
from rbr.models.chat import ChatAnswer, Usage
from rbr.reward.confirm import confirms
from rbr.rules.models import Completions
from tests.rbr.comparisons.prompts import prompt
from tests.rbr.comparisons.test_conditioned import Oracle

PROMPTS = [prompt("hard_refusal", n) for n in range(4)] + [prompt("comply", n) for n in (4, 5)]


@pytest.fixture
def bare(rules):
    """The rules without wordings."""
    return replace(rules, completions=Completions())


def writer_of(rules, server, folder, lines=None, **options):
    said = [] if lines is None else lines
    return ChatWriter(
        ChatWriterOptions(address=server.address, served_name="m", **{"retries": 0} | options),
        rules,
        max_new_tokens=64,
        temperature=0.7,
        seed=0,
        checkpoints=folder,
        progress=lambda task: lambda done, total: said.append((task, done, total)),
    )


def wanted_of(body):
    """The wanted propositions that a request states, as the oracle of the tests reads them."""
    asked = body["messages"][-1]["content"]
    asked = asked.split("It has these properties:")[-1].split("It has none of these")[0]
    return " ".join(n.replace(" ", "_") for n in re.findall(r"^- ([a-z ]+): ", asked, re.MULTILINE))


def sampled(rules, writer, wanted, attempts=2):
    accept = confirms(Oracle(rules), rules, 0.5)
    return rejection_sample(wanted, rules, PROMPTS, writer, accept, attempts, 1, 0)


def test_without_fragments_each_prompt_gets_each_label(bare, writing, tmp_path):
    wanted = requested(PROMPTS, bare, share=0.0, bad_per_prompt=2, seed=0)
    assert [(r.prompt.id, r.label) for r in wanted] == [
        (p.id, label) for p in PROMPTS for label in bare.reward[p.response_type].labels
    ]
    server, lines = writing(wanted_of), []
    made = sampled(bare, writer_of(bare, server, tmp_path, lines), wanted)
    assert [(d.prompt.id, d.label, d.source) for d in made] == [
        (r.prompt.id, r.label, "generated") for r in wanted
    ]
    assert all(d.completion == " ".join(d.true) for d in made if d.true)
    assert lines[-1] == ("asking for comparisons, attempt 1", len(wanted), len(wanted))
    # Prompts of one type want different faults.
    assert len({d.true for d in made if d.label == "bad"}) == 4


def test_a_request_states_the_task_and_quotes_the_conversation(bare, writing, tmp_path):
    server = writing(wanted_of)
    [request] = requests_without_recipes(PROMPTS[:1], bare, 1, 0)[1:2]
    sampled(bare, writer_of(bare, server, tmp_path), [request])
    body = server.requests[0]
    system, user = body["messages"]
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("m", 64, 0.7)
    assert "at most 38 words" in system["content"]
    assert user["content"].startswith("The conversation:\nUser:\n> question 0\n")
    assert f"of the kind '{request.label}'" in user["content"]
    for name in request.true:
        assert bare.propositions[name].definition in user["content"]
    absent = set(bare.reward["hard_refusal"].features) - set(request.true)
    assert all(bare.propositions[name].question in user["content"] for name in absent)
    assert WITHHELD not in user["content"]


def test_of_a_disallowed_one_a_frame_is_asked_for_and_no_more_is_kept(bare, writing, tmp_path):
    server = writing(lambda body: "disallowed_content partially_complies " + "and on " * 50)
    wanted = [
        r for r in requests_without_recipes(PROMPTS[:1], bare, 1, 0) if r.label == "disallowed"
    ]
    wanted = [replace(wanted[0], true=("disallowed_content", "partially_complies"))]
    [made] = sampled(bare, writer_of(bare, server, tmp_path), wanted)
    assert WITHHELD in server.requests[0]["messages"][-1]["content"]
    assert f"at most {FRAME_WORDS} words" in server.requests[0]["messages"][0]["content"]
    assert len(made.completion.split()) == FRAME_WORDS


def test_with_recipes_disallowed_ones_are_composed_and_examples_are_shown(rules, writing, tmp_path):
    wanted = requested(PROMPTS, rules, share=1.0, bad_per_prompt=2, seed=0)
    assert not any(r.label == "disallowed" for r in wanted)
    server = writing(wanted_of)
    writer = writer_of(rules, server, tmp_path)
    sampled(rules, writer, wanted[:1])
    asked = server.requests[0]["messages"][-1]["content"]
    assert "Such an answer to another conversation:\nUser:\n> question" in asked


@pytest.mark.parametrize(
    "said",
    [
        "I can't help with that.",
        "",
        {"message": {"role": "assistant", "content": None, "refusal": "I can't help."}},
        {"message": {"role": "assistant", "content": ""}, "finish_reason": "content_filter"},
        {"message": {"role": "assistant", "content": "<think>hm"}, "finish_reason": "length"},
    ],
)
def test_a_server_that_declines_is_asked_again_and_never_taken_for_the_label(
    bare, writing, tmp_path, said
):
    server = writing(lambda body: said)
    wanted = requests_without_recipes(PROMPTS, bare, 1, 0)
    wanted = [r for r in wanted if r.true]
    assert sampled(bare, writer_of(bare, server, tmp_path), wanted, attempts=2) == []
    assert len(server.requests) == 2 * len(wanted)
    seeds = [(body["messages"][-1]["content"], body["seed"]) for body in server.requests]
    assert len(set(seeds)) == len(seeds)  # another sample


def test_a_killed_run_goes_on_where_it_was_and_counts_all_that_was_spent(bare, writing, tmp_path):
    wanted = requests_without_recipes(PROMPTS, bare, 1, 0)
    left = [7]

    def fails(body):
        left[0] -= 1
        return 500 if left[0] < 0 else wanted_of(body)

    first = writing(fails)
    with pytest.raises(ServerError, match=r"gave no comparison \d+ of 20 after 0 further tries"):
        sampled(bare, writer_of(bare, first, tmp_path, concurrency=1), wanted)
    [log] = tmp_path.glob("*.jsonl")
    assert len(log.read_text().splitlines()) == 7
    with log.open("a") as file:
        file.write('{"index": 3, "compl')  # torn by the kill
    second = writing(wanted_of)
    writer = writer_of(
        bare, second, tmp_path, prices={"prompt": 2.0, "cached": 1.0, "completion": 10.0}
    )
    made = sampled(bare, writer, wanted, attempts=1)
    assert len(made) == len(wanted) == 20
    assert len(second.requests) == 13
    assert (writer.usage.requests, writer.usage.prompt, writer.usage.completion) == (20, 2000, 200)
    cost = (20 * 40 * 2.0 + 20 * 60 * 1.0 + 200 * 10.0) / 1e6
    assert writer.metrics()["comparisons_cost"] == pytest.approx(cost)
    assert writer.spent().startswith("20 requests: 2,000 tokens read (1,200 cached), 200 written")


def test_the_key_is_the_environments(bare, writing, tmp_path, monkeypatch):
    monkeypatch.setenv("RBR_COMPARISONS_KEY", "secret-key")
    server = writing(wanted_of)
    writer = writer_of(bare, server, tmp_path, request={"max_tokens": 900, "top_k": 5})
    sampled(bare, writer, requests_without_recipes(PROMPTS[:1], bare, 1, 0)[:1])
    assert server.keys[0] == "Bearer secret-key"
    assert (server.requests[0]["max_tokens"], server.requests[0]["top_k"]) == (900, 5)
    assert "secret-key" not in json.dumps(writer.options.model_dump()) + repr(writer)


@pytest.mark.parametrize(
    ("content", "reason", "kept"),
    [
        ("Assistant: I'm sorry.", "stop", "I'm sorry."),
        ("> One.\n> Two.", "stop", "One.\nTwo."),
        ("It is so. And then", "length", "It is so."),
        ("And then", "length", ""),
        ("Answer in short: no.", "stop", "Answer in short: no."),
    ],
)
def test_the_completion_is_the_answer_alone(content, reason, kept):
    assert plain_answer(ChatAnswer(content, "", content, (), reason, Usage())) == kept


def test_options_need_address_and_name():
    with pytest.raises(ValidationError, match="served_name"):
        ChatWriterOptions(address="http://127.0.0.1:1/v1")
    assert ChatWriterOptions(address="a", served_name="m").cost(Usage(prompt=5)) is None
