"""Chat templates read backwards: the turns of a prompt that a trainer has rendered to text."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial

import jinja2

from rbr.data.rows import Message
from rbr.data.turns import without_reasoning
from rbr.errors import ModelError
from rbr.models.load import CHAT_TEMPLATE, load_tokenizer, rendered

Render = Callable[[list[dict[str, str]]], str]

# Any token in brackets, or a role's heading: plain text is what has none. Known formats are not listed:
# a new model's marks, graded as the user's words, would give a wrong reward without an error.
MARKUP = re.compile(
    r"""<[^\s<>]{1,64}>                             # <s>, <|user|>, <start_of_turn>, <seed:bos>
    | <[|｜] | [|｜]> | \[\| | \|\]                 # beginnings and ends: <|turn>, [|user|]
    | \[/?[a-z_]{0,20}[A-Z]{2}[A-Z_]{0,30}\]        # [INST], [gMASK]
    | \]~!?b                                        # ]~b]
    | (?i:^[ ]*\#{2,}[ ]*(?:instruction|input|human|user|system|assistant|response)\b)
    | (?i:\A\s*(?:human|user|system)[ ]*:) | (?i:\bassistant[ ]*:\s*\Z)""",
    re.VERBOSE | re.MULTILINE,
)
# What ends an answer in the templates of common models, their padding too.
ENDS = (
    *("<|im_end|>", "<|endoftext|>", "</s>", "<eos>", "<end_of_turn>", "<turn|>", "<pad>"),
    *("<|eot_id|>", "<|eom_id|>", "<|eot|>", "<|end_of_text|>", "<|finetune_right_pad_id|>"),
    *("<|END_OF_TURN_TOKEN|>", "<EOS_TOKEN>", "<PAD>", "<|end|>", "<|return|>", "<|user|>"),
    *("<｜end▁of▁sentence｜>", "<|EOT|>", "[PAD]", "<unk>", "<|end_of_role|>"),
)


class PlainText:
    """Prompts that are what the user says, whatever they hold.

    Args:
        ends: further tokens that end an answer.
    """

    def __init__(self, ends: Sequence[str] = ()) -> None:
        # In a reversed text: a pattern at the end of a text would take quadratic time on an answer of
        # nothing but ends.
        reversed_ends = "|".join(re.escape(end[::-1]) for end in {*ENDS, *ends})
        self._reversed_ends = re.compile(rf"(?:\s*+(?:{reversed_ends}))*")
        self._generation = ""

    def turns(self, prompt: str) -> tuple[Message, ...]:
        """The prompt as one user turn."""
        return (Message(role="user", content=prompt),)

    def answer(self, text: str, prompt: str = "") -> str:
        """A completion without the end tokens at its end, and without the reasoning at its start.

        Those elsewhere stay, to be graded. The template at the end of ``prompt`` may begin the reasoning.
        """
        ends = self._reversed_ends.match(text[::-1])
        begun = self._generation if prompt.endswith(self._generation) else ""
        return without_reasoning(text[: len(text) - ends.end()] if ends else text, begun)


class ChatTemplate(PlainText):
    """Prompts in a chat template, or plain text without markup.

    What stands around the turns is learnt from a rendered conversation.

    Args:
        render: messages -> text, up to where the assistant's answer begins.
        marks: the model's special tokens; none may stand inside a turn.

    Raises:
        ModelError: if the template does not keep the turns in their order.
    """

    def __init__(self, render: Render, marks: Sequence[str]) -> None:
        super().__init__(marks)
        self._render = render
        self._marks = tuple(marks)
        start, user_end, assistant_end, generation = self._learn("user", "assistant", "user")
        self._open, self._after_user, self._after_assistant = start, user_end, assistant_end
        self._generation = generation
        try:
            self._open_system, self._after_system, _ = self._learn("system", "user")
        except Exception:  # some templates refuse system turns, each in its own way
            self._open_system, self._after_system = self._open, ""

    def _learn(self, *roles: str) -> list[str]:
        """The texts before, between and after the turns of these roles."""
        words = [f"turn{i}of" for i in range(len(roles))]
        text = self._render(
            [{"role": r, "content": word} for r, word in zip(roles, words, strict=True)]
        )
        found = re.split("|".join(words), text)
        if re.findall("|".join(words), text) != words or not all(found[1:]):
            raise ModelError("the chat template leaves out or moves turns: it cannot be read back")
        return found

    def turns(self, prompt: str) -> tuple[Message, ...]:
        """The turns of a prompt.

        Raises:
            ValueError: if it is neither in the template nor plain text.
        """
        has_system = self._open_system != self._open and prompt.startswith(self._open_system)
        if not has_system and not (self._open and prompt.startswith(self._open)):
            if MARKUP.search(prompt) or any(mark in prompt for mark in self._marks):
                raise ValueError(
                    "holds what looks like another chat template's markup: name the template by"
                    " --chat-template ('plain': prompts are the user's words, whatever they hold)"
                )
            return super().turns(prompt)
        if not prompt.endswith(self._generation):
            raise ValueError("does not end as the chat template does before an answer")
        body = prompt[: len(prompt) - len(self._generation)]
        rest = body[len(self._open_system if has_system else self._open) :]
        role, contents = "system" if has_system else "user", []
        after = {
            "system": ("user", self._after_system),
            "user": ("assistant", self._after_user),
            "assistant": ("user", self._after_assistant),
        }
        while True:
            content, found, rest = rest.partition(after[role][1])
            contents.append({"role": role, "content": content})
            if not found:
                break
            role = after[role][0]
        marked = any(mark in turn["content"] for turn in contents for mark in self._marks)
        if role != "user" or marked or self._render(contents) != prompt:
            raise ValueError("is not turns of the chat template that end with the user's")
        return tuple(Message.model_validate(turn) for turn in contents)


def chat_template(name: str) -> PlainText:
    """A template by its name: ``chatml``, ``plain``, or a tokenizer's folder or hub name.

    Raises:
        ModelError: if there is no such tokenizer, or its template cannot be read back.
    """
    if name == "plain":
        return PlainText()
    if name == "chatml":
        template = jinja2.Template(CHAT_TEMPLATE, keep_trailing_newline=True)
        return ChatTemplate(
            lambda turns: template.render(messages=turns, add_generation_prompt=True),
            ("<|im_start|>", "<|im_end|>", "<|endoftext|>"),
        )
    try:
        tokenizer = load_tokenizer(name)
        return ChatTemplate(partial(rendered, tokenizer), tokenizer.all_special_tokens)
    except ModelError as error:
        raise ModelError(
            f"no chat template of the tokenizer '{name}' ({error.message}): give chatml, plain, or the"
            " folder of a tokenizer that has one"
        ) from error
