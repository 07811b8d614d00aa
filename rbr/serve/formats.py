"""Bodies of requests and responses; their schema is what is enforced.

The response types are those of the rules that are served: ``request_bodies`` knows no others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model, model_validator

from rbr.data.rows import Message
from rbr.data.turns import read_completion, read_content, read_conversation
from rbr.errors import DataError
from rbr.serve.settings import MAX_CHARACTERS, MAX_ITEMS, MAX_TURNS

ModelT = TypeVar("ModelT", bound=BaseModel)
Text = Annotated[str, Field(max_length=MAX_CHARACTERS)]
Prompt = Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS)]


def _read_by(reader: Callable[[Any, str], str], name: str) -> BeforeValidator:
    """Read text, or what clients write instead of it, by a reader of ``rbr.data.turns``."""

    def read(value: Any) -> str:
        try:
            return reader(value, name)
        except DataError as error:
            raise ValueError(error.message) from error

    return BeforeValidator(read, json_schema_input_type=Text | list[dict[str, Any]])


class Body(BaseModel):
    """Base of requests: no unknown keys, no conversions (1 is no text)."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Turn(Message, strict=True):
    """One turn of a conversation."""

    content: Annotated[Text, _read_by(read_content, "content")] = Field(
        description="text, or a list of text parts; without a chat template's tokens"
    )


class RewardItem(Body):
    """A completion to score: of a single user turn, or of a conversation."""

    prompt: Prompt | None = Field(None, description="what the user says")
    conversation: list[Turn] | None = Field(
        None,
        min_length=1,
        max_length=MAX_TURNS,
        description="in place of a prompt: oldest first; must end with a user turn",
    )
    completion: Annotated[Text, _read_by(read_completion, "completion")] = Field(
        description="the answer to score: text, or messages that end with the assistant's; without a chat"
        " template's tokens"
    )
    response_type: str | None = Field(
        None,
        description="what the policy asks for on this prompt; null: outside the policy, scored by the"
        " reward model alone",
    )

    @model_validator(mode="after")
    def _one_conversation(self) -> RewardItem:
        if (self.prompt is None) == (self.conversation is None):
            raise ValueError("give either a prompt or a conversation")
        if self.conversation and self.conversation[-1].role != "user":
            raise ValueError("a conversation must end with a user turn")
        return self

    @property
    def turns(self) -> Sequence[Message]:
        """The conversation that the completion answers."""
        if self.conversation:
            return read_conversation(self.conversation)
        return (Message(role="user", content=self.prompt or ""),)


class RewardRequest(Body):
    """Completions to score."""

    items: list[RewardItem] = Field(min_length=1, max_length=MAX_ITEMS)


class ItemReward(BaseModel):
    """The reward of one completion: `reward` is `reward_model` + `rule_based`."""

    reward_model: float = Field(description="R_rm (0 where the service has no reward model)")
    rule_based: float = Field(description="sum of w_i phi_i; 0 without a response type")
    reward: float = Field(description="R_tot")


class RewardResponse(BaseModel):
    """One reward an item, in the request's order."""

    rewards: list[ItemReward]


class Contribution(BaseModel):
    """What one feature adds to the reward."""

    value: float = Field(description="phi_i, a probability")
    weight: float = Field(description="w_i")
    contribution: float = Field(description="w_i phi_i")


class ExplainResponse(BaseModel):
    """Why a completion has its reward: `reward_model` and all contributions sum to `reward`."""

    response_type: str | None
    reward_model: float = Field(description="R_rm")
    contributions: dict[str, Contribution] = Field(
        description="by feature; empty without a response type"
    )
    reward: float = Field(description="R_tot")
    unread_tokens: int = Field(
        description="of a long conversation or answer: what the reward model does not read"
    )
    reasons: dict[str, str] = Field(
        description="by proposition: why it has its grade; empty where the grader gives no reasons"
    )


class OpenRLHFRequest(BaseModel):
    """A batch as OpenRLHF's remote-reward client sends it; other keys are ignored."""

    model_config = ConfigDict(extra="ignore", strict=True)

    query: list[Annotated[str, Field(max_length=2 * MAX_CHARACTERS)]] = Field(
        min_length=1, max_length=MAX_ITEMS, description="prompt and completion, special tokens kept"
    )
    prompts: list[Prompt] = Field(
        min_length=1, max_length=MAX_ITEMS, description="what each query begins with, to the letter"
    )
    labels: list[str | None] | None = Field(
        None,
        max_length=MAX_ITEMS,
        description="response types; empty or null: scored by the reward model alone",
    )


class RequestBodies(NamedTuple):
    """The bodies of the three endpoints."""

    reward: type[RewardRequest]
    explain: type[RewardItem]
    openrlhf: type[OpenRLHFRequest]


def request_bodies(response_types: Sequence[str]) -> RequestBodies:
    """The bodies of requests with just these response types."""
    known: Any = Literal[tuple(response_types)]
    item = _narrowed(RewardItem, "response_type", known | None)
    labels = list[known | Literal[""] | None] | None  # type: ignore[valid-type]
    return RequestBodies(
        _narrowed(RewardRequest, "items", list[item]),  # type: ignore[valid-type]
        item,
        _narrowed(OpenRLHFRequest, "labels", labels),
    )


def _narrowed(model: type[ModelT], field: str, annotation: Any) -> type[ModelT]:
    """A model with another annotation of one field, under the same name."""
    changed: dict[str, Any] = {field: (annotation, model.model_fields[field])}
    return create_model(model.__name__, __base__=model, __doc__=model.__doc__, **changed)


class OpenRLHFResponse(BaseModel):
    """One number a query, in the request's order."""

    rewards: list[float] = Field(description="R_tot")
    scores: list[float] = Field(description="the same; OpenRLHF's dynamic filtering reads it")
    extra_logs: dict[str, list[float]] = Field(
        description="`reward_model` and `rule_based`, logged"
    )


class Queue(BaseModel):
    """Completions that wait or are being scored."""

    waiting: int
    limit: int = Field(description="beyond this many waiting, requests get 429")
    scoring: int = Field(description="in the batch being scored")
    scoring_seconds: float = Field(description="how long that batch has been scored")


class Health(BaseModel):
    """Whether the service takes requests, and what it scores by."""

    ready: bool
    rules: str = Field(description="digest of the rules' meaning (SHA-256)")
    response_types: list[str]
    queue: Queue
