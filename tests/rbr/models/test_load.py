"""Models and tokenizers that cannot be used are told in one line, with the mend."""

import json
import shutil

import pytest

from rbr.data.rows import Message
from rbr.errors import ModelError
from rbr.grading.prompts import chat_prompt
from rbr.models.chat_templates import chat_template
from rbr.models.generate import Generator
from rbr.models.load import (
    CHAT_TEMPLATE,
    load_tokenizer,
    messages,
    prompt_text,
    taken_messages,
)
from rbr.training.options import SFTOptions
from rbr.training.sft import train_sft

USER = Message(role="user", content="q")
SYSTEM = Message(role="system", content="s")
REFUSES = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{{ messages[0]['content'] }}"
)

ANSWER = Message(role="assistant", content="a")
ONE_TURN = (
    "{% if messages|length > 1 %}{{ raise_exception('One turn') }}{% endif %}"
    "{{ messages[0]['content'] }}"
)


@pytest.fixture
def folder(tiny_model, tmp_path):
    return shutil.copytree(tiny_model, tmp_path / "model")


def with_template(folder, template):
    path = folder / "chat_template.jinja"
    path.unlink() if template is None else path.write_text(template)
    return load_tokenizer(folder)


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{{ messages[0].content.parts.x }}", r"refuses the turns system, user \(.*no attribute"),
        ("{{ messages[0]['content'] + 1 }}", "refuses the turns system, user"),
        ("{% for %}", "refuses the turns system, user"),
        (None, "has no chat template: give an instruction-tuned model"),
    ],
)
def test_a_template_that_refuses_the_turns_is_told(folder, template, told):
    tokenizer = with_template(folder, template)
    with pytest.raises(ModelError, match=told) as error:
        prompt_text(tokenizer, [SYSTEM, USER])
    assert str(folder) in str(error.value)
    with pytest.raises(ModelError, match="no chat template of the tokenizer"):
        chat_template(str(folder))  # neither can be read back


def test_where_a_template_takes_no_system_turn_it_begins_the_users(folder):
    tokenizer = with_template(folder, REFUSES)
    assert prompt_text(tokenizer, [USER]) == "q"
    assert prompt_text(tokenizer, [SYSTEM, USER]) == "s\n\nq"
    assert taken_messages(tokenizer, messages([SYSTEM, USER])) == [
        {"role": "user", "content": "s\n\nq"}
    ]
    taken = messages([SYSTEM, USER])
    assert taken_messages(with_template(folder, CHAT_TEMPLATE), taken) == taken


def test_what_a_template_refuses_is_told_where_it_is_used(folder, tmp_path):
    tokenizer = with_template(folder, ONE_TURN)
    several = [USER, ANSWER, USER]
    told = r"refuses the turns user, assistant, user \(One turn\): leave such"
    with pytest.raises(ModelError, match=told):
        train_sft(folder, [(several, "a")], tmp_path, tmp_path, SFTOptions(), 0)
    tokenizer.chat_template = None
    with pytest.raises(ModelError, match="no chat template"):
        chat_prompt(tokenizer, [USER], "a", "Is it?")


def test_a_tokenizer_pads_with_its_end_token_or_is_refused(folder):
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    del settings["pad_token"]
    path.write_text(json.dumps(settings))
    tokenizer = load_tokenizer(folder)
    assert tokenizer.pad_token == tokenizer.eos_token == "<|im_end|>"
    del settings["eos_token"]
    path.write_text(json.dumps(settings))
    for load in (load_tokenizer, lambda name: Generator(name, 4)):
        with pytest.raises(ModelError, match="neither a padding nor an end token: name one"):
            load(folder)


def test_a_folder_without_a_tokenizer_is_told(tmp_path):
    with pytest.raises(ModelError, match="cannot load the tokenizer of"):
        load_tokenizer(tmp_path)
