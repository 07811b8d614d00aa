"""Loading models and tokenizers, and the chat template that all of ours share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbr.errors import ModelError

if TYPE_CHECKING:
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


def load_causal(folder: Path | str) -> PreTrainedModel:
    """Load a causal language model from a folder or by hub name; safetensors only.

    Raises:
        ModelError: if there is no such model, or it has no safetensors.
    """
    return _load("AutoModelForCausalLM", folder)


def load_encoder(folder: Path | str) -> PreTrainedModel:
    """Load a model without its language-model head (for hidden states); see ``load_causal``."""
    return _load("AutoModel", folder)


def load_scorer(folder: Path | str) -> PreTrainedModel:
    """Load a model with a head of one output (a new one where it has none); see ``load_causal``."""
    return _load("AutoModelForSequenceClassification", folder, num_labels=1)


def _load(auto_class: str, folder: Path | str, **changes: Any) -> Any:
    import torch
    import transformers
    from safetensors import SafetensorError

    try:
        model = getattr(transformers, auto_class).from_pretrained(
            str(folder),
            dtype=torch.float32,
            trust_remote_code=False,
            use_safetensors=True,
            **changes,
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(
            f"cannot load the model '{folder}' ({_reason(error)}): give a folder with config.json and"
            " safetensors, or a hub name that this machine can reach"
        ) from error
    return model.eval()


def _reason(error: Exception) -> str:
    """The first line that a library says."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def messages(conversation: Sequence[Message]) -> list[dict[str, str]]:
    """A conversation as the plain dicts that chat templates take."""
    return [{"role": m.role, "content": m.content} for m in conversation]


def rendered(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Mapping[str, str]]) -> str:
    """Messages in the tokenizer's chat template, up to where the assistant's answer begins.

    Raises:
        ModelError: if it has no template, or one that refuses these turns (system ones, often).
    """
    from jinja2 import TemplateError

    try:
        return str(
            tokenizer.apply_chat_template(
                [dict(turn) for turn in turns], tokenize=False, add_generation_prompt=True
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
