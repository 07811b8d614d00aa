"""A tiny random Llama with a tokenizer trained on the given texts: for tests and the smoke profile."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rbr.files import replacing


def make_tiny(
    target: Path, texts: Iterable[str], layers: int = 4, seed: int = 0, tied: bool = True
) -> Path:
    """Make the model in ``target``: 4 layers, hidden size 64, 1,000 byte-level BPE tokens.

    Args:
        tied: whether the head is the embedding; such a model repeats the last token of its prompt.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from rbr.models.load import CHAT_TEMPLATE

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # Often enough to become single tokens, so that a yes/no grader can ask the tiny model too.
    backend.train_from_iterator([*texts, *["Yes", "No"] * 500], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<|pad|>", eos_token="<|im_end|>"
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=tied,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with replacing(target) as folder:
        LlamaForCausalLM(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return target
