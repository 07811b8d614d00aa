"""Loading models and tokenizers, and the chat template that all of ours share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbr.errors import ModelError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from rbr.data.rows import Message

# ChatML without a default system turn: the twenty tokens of one would be a quarter of every sequence.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{{ message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def load_tokenizer(folder: Path | str) -> PreTrainedTokenizerBase:
    """Load a tokenizer; it pads on the left (for generation), with its end token if it has no other.

    Raises:
        ModelError: if there is none, or it has neither a padding nor an end token.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"cannot load the tokenizer of '{folder}' ({_reason(error)}): give a folder with"
            " tokenizer.json, or a hub name that this machine can reach"
        ) from error
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.pad_token_id is None:
        raise ModelError(
            f"the tokenizer of '{folder}' has neither a padding nor an end token: name one as eos_token"
            " in its tokenizer_config.json"
        )
    return tokenizer


def load_causal(
    folder: Path | str, reading: bool = False, dtype: torch.dtype | str | None = None
) -> PreTrainedModel:
    """Load a causal language model from a folder or by hub name; safetensors only, sharded or not.

    Args:
        reading: the model is not trained: it is put on the step's device, in the numbers for reading; see
            ``rbr.models.device``. Else it is on the CPU, and the trainer moves it.
        dtype: of a model that is not for reading: float32 by default, ``auto`` for the files' own.

    Raises:
        ModelError: if there is no such model, or it has no safetensors.
    """
    return _load("AutoModelForCausalLM", folder, reading, dtype)


def load_encoder(folder: Path | str, reading: bool = False) -> PreTrainedModel:
    """Load a model without its language-model head (for hidden states); see ``load_causal``."""
    return _load("AutoModel", folder, reading)


def load_scorer(
    folder: Path | str, reading: bool = False, dtype: torch.dtype | str | None = None
) -> PreTrainedModel:
    """Load a model with a head of one output (a new one where it has none); see ``load_causal``."""
    return _load("AutoModelForSequenceClassification", folder, reading, dtype, num_labels=1)


def stored_dtype(folder: Path | str) -> torch.dtype:
    """The numbers of a model's files; float32 where they do not say."""
    import torch
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(str(folder)).dtype or torch.float32


def _load(
    auto_class: str,
    folder: Path | str,
    reading: bool,
    dtype: torch.dtype | str | None = None,
    **changes: Any,
) -> Any:
    import torch
    import transformers
    from safetensors import SafetensorError

    from rbr.models.device import for_reading, reading_dtype

    try:
        # The weights are mapped, and read once, in the numbers that they are wanted in.
        model = getattr(transformers, auto_class).from_pretrained(
            str(folder),
            dtype=reading_dtype() if reading else dtype or torch.float32,
            trust_remote_code=False,
            use_safetensors=True,
            **changes,
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(
            f"cannot load the model '{folder}' ({_reason(error)}): give a folder with config.json and"
            " safetensors, or a hub name that this machine can reach"
        ) from error
    return for_reading(model) if reading else model.eval()


def _reason(error: Exception) -> str:
    """The first line that a library says."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def messages(conversation: Sequence[Message]) -> list[dict[str, str]]:
    """A conversation as the plain dicts that chat templates take."""
    return [{"role": m.role, "content": m.content} for m in conversation]


def taken_messages(
    tokenizer: PreTrainedTokenizerBase, turns: Sequence[Mapping[str, str]]
) -> list[dict[str, str]]:
    """The turns as the tokenizer's template takes them.

    Where it refuses system turns (Gemma's, for one), theirs begins the user's first turn.
    """
    found = [dict(turn) for turn in turns]
    roles = [turn["role"] for turn in found[:2]]
    if roles == ["system", "user"] and not _takes_system(tokenizer, str(tokenizer.chat_template)):
        system, user, *rest = found
        return [{"role": "user", "content": f"{system['content']}\n\n{user['content']}"}, *rest]
    return found


@lru_cache(maxsize=8)
def _takes_system(tokenizer: PreTrainedTokenizerBase, template: str) -> bool:
    """Whether a template takes a system turn, or else nothing at all: that is an error of its own."""

    def taken(*roles: str) -> bool:
        turns = [{"role": role, "content": role} for role in roles]
        try:
            return bool(
                tokenizer.apply_chat_template(turns, chat_template=template, tokenize=False)
            )
        except Exception:  # each template refuses in its own way
            return False

    return taken("system", "user") or not taken("user")


def rendered(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Mapping[str, str]]) -> str:
    """Messages in the tokenizer's chat template, up to where the assistant's answer begins.

    Raises:
        ModelError: if it has no template, or one that refuses these turns; see ``taken_messages``.
    """
    from jinja2 import TemplateError

    try:
        return str(
            tokenizer.apply_chat_template(
                taken_messages(tokenizer, turns), tokenize=False, add_generation_prompt=True
            )
        )
    except (TemplateError, TypeError, ValueError) as error:
        name = tokenizer.name_or_path
        if not tokenizer.chat_template:
            raise ModelError(
                f"the tokenizer of '{name}' has no chat template: give an instruction-tuned model, or put"
                " its chat_template.jinja into the folder"
            ) from error
        roles = ", ".join(turn["role"] for turn in turns)
        raise ModelError(
            f"the chat template of '{name}' refuses the turns {roles} ({_reason(error)}): leave such"
            " prompts out, or put a chat_template.jinja that takes them into the model's folder"
        ) from error


def prompt_text(tokenizer: PreTrainedTokenizerBase, conversation: Sequence[Message]) -> str:
    """The conversation as text, up to where the assistant's answer begins; see ``rendered``."""
    return rendered(tokenizer, messages(conversation))


def chat_texts(
    tokenizer: PreTrainedTokenizerBase, conversations: Sequence[Sequence[Message]]
) -> list[str]:
    """``prompt_text`` of each conversation."""
    return [prompt_text(tokenizer, conversation) for conversation in conversations]
