"""The ways of asking a chat model: by statements, by a written policy, or for one word."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rbr.grading.chat.prompts import FRAME, QUOTED, policy, quoted, schema, statements, wanted
from rbr.grading.chat.reading import Reading, read_verdicts, whole_json
from rbr.grading.chat.words import AROUND, NO, YES
from rbr.grading.prompts import INTRODUCTION, question_text
from rbr.models.chat import ChatAnswer, ChatMessages, Feature, json_schema

if TYPE_CHECKING:
    from rbr.grading.base import Conversation
    from rbr.grading.options import ChatOptions, Style
    from rbr.rules.rules import Rules


class Asking(ABC):
    """What is sent to a chat model for some propositions of an answer, and how its answer is read.

    Attributes:
        propositions: those that it can be asked for.
    """

    propositions: tuple[str, ...]

    @abstractmethod
    def messages(
        self, conversation: Conversation, completion: str, names: Sequence[str]
    ) -> ChatMessages:
        """The turns that ask for these propositions."""

    @abstractmethod
    def read(self, text: str, names: Sequence[str]) -> Reading:
        """The verdicts in an answer."""

    @abstractmethod
    def tokens(self, names: Sequence[str]) -> int:
        """Tokens that an answer may have, its reasoning left out."""

    def features(self, names: Sequence[str]) -> list[Feature]:
        """Parts of the request that a server may refuse."""
        return []

    def again(
        self, messages: ChatMessages, names: Sequence[str], answer: ChatAnswer, reading: Reading
    ) -> ChatMessages:
        """The turns that ask once more, after an answer that cannot be used."""
        return messages

    def whole(self, text: str) -> bool:
        """Whether an answer is complete as it stands, whatever tags it quotes."""
        return False

    def begun(self, text: str) -> bool:
        """Whether a text that was cut is of the answer, and not of reasoning that no tag begins."""
        return True


class StatementStyle(Asking):
    """Propositions as statements, or rendered as one policy; the answer is JSON with reasons."""

    def __init__(self, rules: Rules, wordings: Mapping[str, Style], options: ChatOptions) -> None:
        self.propositions = rules.proposition_names
        self._rules, self._wordings, self._options = rules, wordings, options

    def messages(
        self, conversation: Conversation, completion: str, names: Sequence[str]
    ) -> ChatMessages:
        """See ``Asking.messages``."""
        rules = {name: self._rules.propositions[name] for name in names}
        if self._options.style == "policy":
            system = policy(rules, self._wordings)
        else:
            system = "\n\n".join([FRAME, QUOTED, statements(rules, self._wordings)])
        last = wanted(names, self._options)
        return [
            {"role": "system", "content": system},
            {"role": "user", "content": f"{quoted(conversation, completion)}\n\n{last}"},
        ]

    def features(self, names: Sequence[str]) -> list[Feature]:
        """See ``Asking.features``."""
        return [json_schema(schema(names, self._options), "verdicts")]

    def read(self, text: str, names: Sequence[str]) -> Reading:
        """See ``Asking.read``."""
        return read_verdicts(text, names, self.propositions)

    def tokens(self, names: Sequence[str]) -> int:
        """See ``Asking.tokens``."""
        return self._options.max_tokens * len(names)

    def again(
        self, messages: ChatMessages, names: Sequence[str], answer: ChatAnswer, reading: Reading
    ) -> ChatMessages:
        """See ``Asking.again``: the task's frame after a refusal, else what was wrong."""
        last = wanted(names, self._options)
        if reading.refused or not answer.content:
            system, user = messages
            frame = f"{user['content']}\n\nThis is an audit of an answer that was given already. {FRAME}"
            return [system, {"role": "user", "content": f"{frame}\n\nIn English. {last}"}]
        problem = f"Your answer cannot be used: {reading.problem}. {last}"
        return [
            *messages,
            {"role": "assistant", "content": answer.content[:4000]},
            {"role": "user", "content": problem},
        ]

    def whole(self, text: str) -> bool:
        """See ``Asking.whole``."""
        return whole_json(text)

    def begun(self, text: str) -> bool:
        """See ``Asking.begun``."""
        return text.lstrip().startswith(("{", "[", "```"))


class WordStyle(Asking):
    """One question, answered by yes or no: the very prompt of the yes/no engines."""

    def __init__(self, rules: Rules, wordings: Mapping[str, Style]) -> None:
        self.propositions = rules.proposition_names
        self._rules, self._wordings = rules, wordings

    def messages(
        self, conversation: Conversation, completion: str, names: Sequence[str]
    ) -> ChatMessages:
        """See ``Asking.messages``."""
        [name] = names
        question = question_text(self._rules.propositions[name], self._wordings[name])
        content = f"{INTRODUCTION}\n\n{quoted(conversation, completion)}\n\n{question}"
        return [{"role": "user", "content": content}]

    def read(self, text: str, names: Sequence[str]) -> Reading:
        """See ``Asking.read``."""
        return read_verdicts(text, names, self.propositions)

    def tokens(self, names: Sequence[str]) -> int:
        """See ``Asking.tokens``."""
        return 4

    def whole(self, text: str) -> bool:
        """See ``Asking.whole``."""
        return text.strip(AROUND).casefold() in YES | NO

    def again(
        self, messages: ChatMessages, names: Sequence[str], answer: ChatAnswer, reading: Reading
    ) -> ChatMessages:
        """See ``Asking.again``."""
        [turn] = messages
        return [{"role": "user", "content": f"{turn['content']}\n\n{FRAME} Say Yes or No alone."}]


def style_of(rules: Rules, wordings: Mapping[str, Style], options: ChatOptions) -> Asking:
    """The style that the options name."""
    if options.answer == "word":
        return WordStyle(rules, wordings)
    return StatementStyle(rules, wordings, options)
