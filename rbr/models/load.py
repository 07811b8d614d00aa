"""Loading models and tokenizers, and the chat template that all of ours share."""

from __future__ import annotations

from collections.abc import Sequence
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
    """Load a tokenizer; it pads on the left (for generation) and has a pad token and a chat template."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
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
        reason = str(error).splitlines()[0]
        raise ModelError(
            f"cannot load the model '{folder}' ({reason}): give a folder with config.json and"
            " safetensors, or a hub name that this machine can reach"
        ) from error
    return model.eval()


def messages(conversation: Sequence[Message]) -> list[dict[str, str]]:
    """A conversation as the plain dicts that chat templates take."""
    return [{"role": m.role, "content": m.content} for m in conversation]


def prompt_text(tokenizer: PreTrainedTokenizerBase, conversation: Sequence[Message]) -> str:
    """The conversation as text, up to where the assistant's answer begins."""
    return str(
        tokenizer.apply_chat_template(
            messages(conversation), tokenize=False, add_generation_prompt=True
        )
    )


def chat_texts(
    tokenizer: PreTrainedTokenizerBase, conversations: Sequence[Sequence[Message]]
) -> list[str]:
    """``prompt_text`` of each conversation."""
    return [prompt_text(tokenizer, conversation) for conversation in conversations]
