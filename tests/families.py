"""Tiny random models of the families that users bring, each with what sets it apart, in shards.

- ``qwen``: Qwen3: tied embeddings, a pad token of its own, two end tokens, layers of two types.
- ``llama``: Llama 3: no pad token, three end tokens, untied head.
- ``gemma``: Gemma 2: refuses system turns, tied and scaled embeddings, capped logits, layers of two types.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from rbr.models.tiny import make_tiny

FAMILIES = ("qwen", "llama", "gemma")
SHAPE = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 1024,
}  # fmt: skip
SLIDING = ["sliding_attention", "full_attention"] * 2
LLAMA_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
GEMMA_TEMPLATE = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}<start_of_turn>"
    "{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n{{ m['content'] | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def make_family(name: str, folder: Path, texts: list[str]) -> Path:
    """Make a model of a family of ``FAMILIES`` in ``folder``, in shards of 100 kB."""
    make_tiny(folder / "tokenizer", texts)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer")
    if name == "llama":
        added = ["<|begin_of_text|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>"]
        tokenizer.add_special_tokens(
            {"additional_special_tokens": [*added, "<|start_header_id|>", "<|end_header_id|>"]}
        )
        tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token = added[0], added[1], None
        tokenizer.chat_template, ends = LLAMA_TEMPLATE, added[1:]
    elif name == "gemma":
        added = ["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"]
        tokenizer.add_special_tokens({"additional_special_tokens": added})
        tokenizer.bos_token, tokenizer.eos_token = added[:2]
        tokenizer.chat_template, ends = GEMMA_TEMPLATE, ["<eos>", "<end_of_turn>"]
    else:
        tokenizer.add_special_tokens({"additional_special_tokens": ["<|endoftext|>"]})
        ends = ["<|im_end|>", "<|endoftext|>"]
    ids = tokenizer.convert_tokens_to_ids(ends)
    tokens = {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": ids if name == "llama" else ids[0],
        "pad_token_id": tokenizer.pad_token_id,
    }
    torch.manual_seed(0)
    if name == "qwen":
        config = Qwen3Config(
            **SHAPE,
            **tokens,
            tie_word_embeddings=True,
            layer_types=SLIDING,
            sliding_window=64,
            use_sliding_window=True,
        )
        model = Qwen3ForCausalLM(config)
    elif name == "llama":
        model = LlamaForCausalLM(LlamaConfig(**SHAPE, **tokens, tie_word_embeddings=False))
    else:
        config = Gemma2Config(
            **SHAPE, **tokens, layer_types=SLIDING, sliding_window=64, query_pre_attn_scalar=16
        )
        model = Gemma2ForCausalLM(config)
    model.generation_config.eos_token_id = ids
    model.save_pretrained(folder / "model", max_shard_size="100KB")
    tokenizer.save_pretrained(folder / "model")
    return folder / "model"
