"""OpenRLHF's format: reading prompts back from the chat template, and its answers."""

import time
from contextlib import suppress

import pytest

from rbr.data.rows import Message
from rbr.errors import ModelError
from rbr.models.chat_templates import chat_template
from rbr.models.load import CHAT_TEMPLATE, load_tokenizer
from rbr.serve import ServeSettings, create_app
from rbr.serve.jobs import Item


def chatml(*turns):
    said = "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns)
    return f"{said}<|im_start|>assistant\n"


def talk(*turns):
    return tuple(Message(role=role, content=text) for role, text in turns)


TURNS = (("system", "s"), ("user", "a\nb"), ("assistant", ""), ("user", " c "))


CHATML = chat_template("chatml")
# One user turn in the formats of other models, as their templates write it.
FOREIGN = [
    "[gMASK]<sop><|user|>\nHi<|assistant|>\n",
    "<BOS_TOKEN><|START_OF_TURN_TOKEN|><|USER_TOKEN|>Hi<|END_OF_TURN_TOKEN|>",
    "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n",
    "<bos><|turn>user\nHi<turn|>\n<|turn>model\n",
    "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>",
    "<|header_start|>user<|header_end|>\n\nHi<|eot|>",
    "<s>[INST] Hi [/INST]",
    "[INST] <<SYS>>\nS\n<</SYS>>\n\nHi [/INST]",
    "<s>[SYSTEM_PROMPT]S[/SYSTEM_PROMPT][INST]Hi[/INST]",
    "<｜begin▁of▁sentence｜><｜User｜>Hi<｜Assistant｜>",
    "<|start|>user<|message|>Hi<|end|><|start|>assistant",
    "<|user|>\nHi<|end|>\n<|assistant|>\n",
    "<|endoftext|><|user|>\nHi\n<|assistant|>\n",
    "<|start_of_role|>user<|end_of_role|>Hi<|end_of_text|>",
    "[|user|]Hi\n[|assistant|]",
    "]~!b[]~b]user\nHi[e~[\n]~b]ai\n",
    "<seed:bos>user\nHi<seed:eos><seed:bos>assistant\n",
    "<role>HUMAN</role>Hi<role>ASSISTANT</role>",
    "<reserved_106>Hi<reserved_107>",
    "<_user>Hi<_bot>",
    "GPT4 Correct User: Hi<|end_of_turn|>GPT4 Correct Assistant:",
    "A chat. USER: Hi ASSISTANT:",
    "\n\nHuman: Hi\n\nAssistant:",
    "### Instruction:\nHi\n\n### Response:\n",
    "Hi <|im_end|>",
    " <|im_start|>user\nHi",
    "Hi</s>",
]


def test_the_template_of_our_models_is_read_back():
    import jinja2

    rendered = jinja2.Template(CHAT_TEMPLATE, keep_trailing_newline=True).render(
        messages=[{"role": role, "content": text} for role, text in TURNS],
        add_generation_prompt=True,
    )
    assert rendered == chatml(*TURNS)
    assert CHATML.turns(rendered) == talk(*TURNS)


@pytest.mark.parametrize("prompt", ["a\nb", " a < b [1], c > d: [sic] # x", "assistant: a?", ""])
def test_a_prompt_without_markup_is_one_user_turn(prompt):
    assert CHATML.turns(prompt) == talk(("user", prompt))


@pytest.mark.parametrize(
    "prompt",
    [
        chatml(("user", "q")) + "Sure",
        chatml(("user", "q")).removesuffix("assistant\n"),
        chatml(("system", "s")),
        chatml(("user", "q"), ("assistant", "a")),
        chatml(("tool", "t")),
        chatml(("user", "q"), ("assistant", "a"), ("tool", "t")),
        chatml(("user", "q <|im_end|> r")),
        "<|im_start|>user\nnever ended",
        "<|im_start|>assistant\n",
        *FOREIGN,
    ],
)
def test_other_templates_are_refused(prompt):
    with pytest.raises(ValueError, match=r"chat template"):
        CHATML.turns(prompt)


@pytest.mark.parametrize("prompt", FOREIGN)
def test_plain_prompts_may_hold_anything_by_the_setting(client_of, reward, direct, prompt):
    body = {"query": [f"{prompt}a</s>"], "prompts": [prompt], "labels": ["comply"]}
    assert client_of(reward).post("/get_reward", json=body).status_code == 422
    found = client_of(reward, chat_template="plain").post("/get_reward", json=body).json()
    assert found["rewards"] == [direct(Item(talk(("user", prompt)), "a", "comply"))]


TEMPLATES = {
    "llama": "{{ '<s>' }}{% for m in messages %}{{ '<|header|>' + m.role + '<|end_header|>\n\n' + m.content"
    " | trim + '</s>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|header|>assistant<|end_header|>"
    "\n\n' }}{% endif %}",
    "glm": "[gMASK]<sop>{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
    "mistral": "{{ '<s>' }}{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}"
    "{% elif m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content + '</s>' }}{% endif %}{% endfor %}",
    "default_system": "{% if messages[0].role != 'system' %}{{ '<|system|>Be kind.<|end|>' }}{% endif %}"
    "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}",
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_tokenizers_template_is_read_back(tiny_model, tmp_path, client_of, reward, direct, name):
    tokenizer = load_tokenizer(tiny_model)
    tokenizer.chat_template = TEMPLATES[name]
    tokenizer.save_pretrained(tmp_path)
    template = chat_template(str(tmp_path))
    sequences = [
        TURNS[1:],
        (("user", "a"),),
        (("user", "a"), ("assistant", "b\n\nc"), ("user", "d")),
    ]
    if name != "mistral":
        sequences += [(("system", "s"), *TURNS[1:])]
    for turns in sequences:
        turns = tuple((role, text.strip()) for role, text in turns)
        messages = [{"role": role, "content": text} for role, text in turns]
        prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        found = template.turns(prompt)
        if name == "default_system" and turns[0][0] == "user":
            assert found[0] == Message(role="system", content="Be kind.")
            found = found[1:]
        assert found == talk(*turns)
        with pytest.raises(ValueError, match="template"):
            template.turns(prompt + "x")
    with pytest.raises(ValueError, match="markup"):
        template.turns("]~b]user\nq")
    client = client_of(reward, chat_template=str(tmp_path))
    body = {"query": [f"{prompt}a{tokenizer.eos_token}"], "prompts": [prompt]}
    wanted = direct(Item(template.turns(prompt), "a", None))
    assert client.post("/get_reward", json=body).json()["rewards"] == [wanted]


def test_a_template_that_cannot_be_read_back_is_an_error_at_the_start(tiny_model, tmp_path, reward):
    with pytest.raises(ModelError, match="no chat template of the tokenizer"):
        chat_template(str(tmp_path / "none"))
    tokenizer = load_tokenizer(tiny_model)
    for broken in ("{{ messages[-1].content }}|", None):
        tokenizer.chat_template = broken
        tokenizer.save_pretrained(tmp_path / str(bool(broken)))
        with pytest.raises(ModelError, match="chat template"):
            create_app(reward, ServeSettings(chat_template=str(tmp_path / str(bool(broken)))))


@pytest.mark.parametrize(
    "end", ["", "<|im_end|>", "<|im_end|>\n", "<|endoftext|>" * 3, "</s> <eos>"]
)
def test_end_tokens_at_the_end_are_no_part_of_the_completion(end):
    assert CHATML.answer(f" A\n{end}") == " A\n"


def test_end_tokens_elsewhere_stay():
    # What follows them would else escape the grader.
    assert CHATML.answer("a<|im_end|>b<|im_end|>") == "a<|im_end|>b"


def test_long_texts_are_read_in_no_time():
    began = time.monotonic()
    for _ in range(64):
        assert CHATML.answer("<|im_end|>" * 6000 + "x").endswith("x")
        assert CHATML.answer("<|im_end|> " * 6000) == ""
        assert CHATML.answer("a" + "<|im_end|>" + " " * 60_000) == "a"
    for text in ("user: a\n", "<", "[A", "[", "### ", "assistant:", " \n", "#", "\n"):
        for prompt in (text * (60_000 // len(text)), text + "A" * 60_000):
            with suppress(ValueError):
                CHATML.turns(prompt)
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


def test_reasoning_is_no_part_of_the_completion(tiny_model, tmp_path, client_of, reward, direct):
    wanted = [direct(Item(talk(("user", "q")), text, "comply")) for text in ("A", "")]

    def rewards(template, prompt, *answers):
        body = {"query": [prompt + answer for answer in answers], "labels": ["comply"] * 2}
        body["prompts"] = [prompt] * 2
        client = client_of(reward, chat_template=template)
        return client.post("/get_reward", json=body).json()["rewards"]

    start = "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n"
    for template, prompt in (("chatml", start), ("chatml", "q"), ("plain", "q")):
        answers = "<think>hm</think>\nA<|im_end|>", "<think>hm<|im_end|>"
        assert rewards(template, prompt, *answers) == wanted
    # A template that begins the reasoning itself, and plain prompts of the same server.
    tokenizer = load_tokenizer(tiny_model)
    tokenizer.chat_template = CHAT_TEMPLATE.replace("assistant\n", "assistant\n<think>\n")
    tokenizer.save_pretrained(tmp_path)
    template = str(tmp_path)
    assert rewards(template, f"{start}<think>\n", "hm</think>\nA", "hm") == wanted
    assert rewards(template, "q", "A", "<think>hm") == wanted
