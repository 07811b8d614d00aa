"""Bodies of requests and responses; their schema is what is enforced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator

from rbr.data.rows import Message
from rbr.rules.models import ResponseType
from rbr.serve.settings import MAX_CHARACTERS, MAX_ITEMS, MAX_TURNS

Text = Annotated[str, Field(max_length=MAX_CHARACTERS)]
Prompt = Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS)]


class Body(BaseModel):
    """Base of requests: no unknown keys, no conversions (1 is no text)."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Turn(Message, strict=True):
    """One turn of a conversation."""

    content: Text = Field(description="without a chat template's tokens")


class _Item(Body):
    completion: Text = Field(description="the answer to score, without a chat template's tokens")
    response_type: ResponseType | None = Field(
        None,
        description="what the policy asks for on this prompt; null: outside the policy, scored by the"
        " reward model alone",
    )


class PromptItem(_Item):
    """A completion of a single user turn."""

    prompt: Prompt = Field(description="what the user says")

    @property
    def messages(self) -> Sequence[Message]:
        """The conversation that the completion answers."""
        return (Message(role="user", content=self.prompt),)


class ConversationItem(_Item):
    """A completion of a conversation."""

    conversation: list[Turn] = Field(
        min_length=1, max_length=MAX_TURNS, description="oldest first; must end with a user turn"
    )

    @field_validator("conversation")
    @classmethod
    def _ends_with_user(cls, turns: list[Turn]) -> list[Turn]:
        if turns[-1].role != "user":
            raise ValueError("a conversation must end with a user turn")
        return turns

    @property
    def messages(self) -> Sequence[Message]:
        """The conversation that the completion answers."""
        return self.conversation


def _form(value: Any) -> str:
    is_conversation = isinstance(value, dict) and "conversation" in value
    return "ConversationItem" if is_conversation else "PromptItem"


# Distinguished by their keys, so that an error is about the form that is meant and not about both.
AnyItem = Annotated[
    Annotated[PromptItem, Tag("PromptItem")] | Annotated[ConversationItem, Tag("ConversationItem")],
    Discriminator(_form),
]


class RewardRequest(Body):
    """Completions to score."""

    items: list[AnyItem] = Field(min_length=1, max_length=MAX_ITEMS)


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

    response_type: ResponseType | None
    reward_model: float = Field(description="R_rm")
    contributions: dict[str, Contribution] = Field(
        description="by feature; empty without a response type"
    )
    reward: float = Field(description="R_tot")


class OpenRLHFRequest(BaseModel):
    """A batch as OpenRLHF's remote-reward client sends it; other keys are ignored."""

    model_config = ConfigDict(extra="ignore", strict=True)

    query: list[Annotated[str, Field(max_length=2 * MAX_CHARACTERS)]] = Field(
        min_length=1, max_length=MAX_ITEMS, description="prompt and completion, special tokens kept"
    )
    prompts: list[Prompt] = Field(
        min_length=1, max_length=MAX_ITEMS, description="what each query begins with, to the letter"
    )
    labels: list[ResponseType | Literal[""] | None] | None = Field(
        None,
        max_length=MAX_ITEMS,
        description="response types; empty or null: scored by the reward model alone",
    )


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
    response_types: list[ResponseType]
    queue: Queue
