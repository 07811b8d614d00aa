"""OpenRLHF's format: reading prompts back from the chat template, and its answers."""

import time

import pytest

from rbr.data.rows import Message
from rbr.models.load import CHAT_TEMPLATE
from rbr.serve.jobs import Item
from rbr.serve.openrlhf import completion_of, conversation_of


def chatml(*turns):
    said = "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns)
    return f"{said}<|im_start|>assistant\n"


def talk(*turns):
    return tuple(Message(role=role, content=text) for role, text in turns)


TURNS = (("system", "s"), ("user", "a\nb"), ("assistant", ""), ("user", " c "))


def test_the_template_of_our_models_is_read_back():
    import jinja2

    rendered = jinja2.Template(CHAT_TEMPLATE, keep_trailing_newline=True).render(
        messages=[{"role": role, "content": text} for role, text in TURNS],
        add_generation_prompt=True,
    )
    assert rendered == chatml(*TURNS)
    assert conversation_of(rendered) == talk(*TURNS)


def test_a_prompt_without_a_template_is_one_user_turn():
    assert conversation_of("a <|im_end|> b") == talk(("user", "a <|im_end|> b"))


@pytest.mark.parametrize(
    "prompt",
    [
        chatml(("user", "q")) + "Sure",
        chatml(("user", "q")).removesuffix("assistant\n"),
        chatml(("system", "s")),
        chatml(("user", "q"), ("assistant", "a")),
        chatml(("tool", "t")),
        "<|im_start|>user\nnever ended",
        "<|im_start|>assistant\n",
        "<|begin_of_text|><|start_header_id|>user",
        "<s>[INST] q [/INST]",
        "<bos><start_of_turn>user\nq",
    ],
)
def test_other_templates_are_refused(prompt):
    with pytest.raises(ValueError, match=r"ChatML"):
        conversation_of(prompt)


@pytest.mark.parametrize("end", ["", "<|im_end|>", "<|im_end|>\n", "<|endoftext|>" * 3])
def test_end_tokens_at_the_end_are_no_part_of_the_completion(end):
    assert completion_of(f"PROMPT A\n{end}", "PROMPT") == " A\n"


def test_end_tokens_elsewhere_stay():
    # What follows them would else escape the grader.
    assert completion_of("Pa<|im_end|>b<|im_end|>", "P") == "a<|im_end|>b"


def test_many_end_tokens_are_stripped_in_no_time():
    began = time.monotonic()
    for _ in range(64):
        assert completion_of("P" + "<|im_end|>" * 6000 + "x", "P").endswith("x")
        assert completion_of("P" + "<|im_end|> " * 6000, "P") == ""
        assert completion_of("P" + "a" + "<|im_end|>" + " " * 60_000, "P") == "a"
    assert time.monotonic() - began < 5


def test_the_answer_is_that_of_a_direct_call(client_of, reward, direct):
    prompts = [chatml(*TURNS), "plain", chatml(("user", "q")), chatml(("user", "q"))]
    labels = ["comply", "hard_refusal", "", None]
    body = {
        "query": [f"{p}answer {i}<|im_end|>" for i, p in enumerate(prompts)],
        "prompts": prompts,
        "labels": labels,
        "images": None,
    }
    answer = client_of(reward).post("/get_reward", json=body).json()
    conversations = [talk(*TURNS), talk(("user", "plain")), *[talk(("user", "q"))] * 2]
    wanted = [
        direct(Item(t, f"answer {i}", label or None))
        for i, (t, label) in enumerate(zip(conversations, labels, strict=True))
    ]
    assert answer["rewards"] == answer["scores"] == wanted
    logs = answer["extra_logs"]
    assert [a + b for a, b in zip(logs["reward_model"], logs["rule_based"], strict=True)] == wanted
    assert logs["rule_based"][2:] == [0, 0]


def test_labels_may_be_missing(client_of, reward, direct):
    body = {"query": ["qa"], "prompts": ["q"]}
    answer = client_of(reward).post("/get_reward", json=body).json()
    assert answer["rewards"] == [direct(Item(talk(("user", "q")), "a", None))]


def test_what_cannot_be_read_is_named(client_of, tricky):
    client = client_of(tricky)
    body = {"query": ["qa", "cut prompt, answer", "qa"], "prompts": ["q", "a cut prompt", "<s>q"]}
    answer = client.post("/get_reward", json=body)
    assert answer.status_code == 422
    assert [detail["where"] for detail in answer.json()["details"]] == ["query.1", "prompts.2"]
    for wrong in ({"prompts": ["q"]}, {"labels": ["comply"]}):
        answer = client.post(
            "/get_reward", json={"query": ["qa"] * 2, "prompts": ["q"] * 2} | wrong
        )
        assert answer.status_code == 422
        assert "give as many" in answer.json()["message"]
    assert client.post("/get_reward", json=body | {"labels": ["odd"] * 3}).status_code == 422
    assert tricky.batches == []
