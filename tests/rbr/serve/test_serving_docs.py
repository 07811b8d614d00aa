"""The code of docs/serving.md, run as it stands there."""

import hashlib
import re

import pytest

from rbr.data.rows import Message
from rbr.serve.jobs import Item

TOKEN = hashlib.sha256(b"of the docs' tests").hexdigest()
TALK = [{"role": "user", "content": "q"}]


def code_with(root, name):
    text = (root / "docs" / "serving.md").read_text()
    [found] = [code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if name in code]
    return found


def item(completion, kind):
    return Item((Message(role="user", content="q"),), completion, kind)


@pytest.mark.parametrize("token", [None, TOKEN], ids=["open", "token"])
def test_the_examples_give_the_rewards_of_direct_calls(
    live, reward, direct, root, monkeypatch, token
):
    url, _, _ = live(reward, token=token)
    monkeypatch.setenv("RBR_SERVE_URL", url)
    monkeypatch.delenv("RBR_SERVE_TOKEN", raising=False)
    if token:
        monkeypatch.setenv("RBR_SERVE_TOKEN", token)
    names: dict = {}
    exec(code_with(root, "def rule_based_reward("), names)
    ask = names["rule_based_reward"]
    wanted = [direct(item("a", "comply")), direct(item("b", None))]
    assert ask(["q", "q"], ["a", "b"], response_type=["comply", None]) == wanted
    answers = [[{"role": "assistant", "content": text}] for text in "ab"]
    assert ask([TALK, TALK], answers, response_type=["comply", None], extra=[1, 2]) == wanted
    assert ask([TALK], answers[1:]) == wanted[1:]
    exec(code_with(root, "def reward_func("), names)
    found = names["reward_func"](["qa", "qb"], ["q", "q"], ["comply", ""])
    assert found["rewards"] == found["scores"] == wanted
