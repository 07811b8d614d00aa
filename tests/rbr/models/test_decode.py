"""Decoding beside Transformers' own, on models of several architectures."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, MistralConfig

from rbr.models.decode import Sampler, decode

LLAMA = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
}
CONFIGS = {
    "grouped heads": LlamaConfig(**LLAMA, num_key_value_heads=2),
    "a head each": LlamaConfig(**LLAMA, num_key_value_heads=4),
    "sliding window": MistralConfig(**LLAMA, num_key_value_heads=2, sliding_window=6),
    "absolute positions": GPT2Config(vocab_size=97, n_embd=32, n_layer=2, n_head=4),
}
PROMPTS = [[5, 9, 11], [7] * 9, [5, 9, 11], [1], [5, 9, 11], [30, 31, 32, 33, 34]]
LIMIT = 20


@pytest.fixture(params=CONFIGS)
def model(request):
    torch.manual_seed(0)
    made = AutoModelForCausalLM.from_config(CONFIGS[request.param])
    with torch.no_grad():  # so that different tokens follow each other
        made.get_input_embeddings().weight.mul_(20)
    return made.eval()


def of_transformers(model, prompt, ends):
    ids = torch.tensor([prompt])
    output = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=LIMIT,
        do_sample=False,
        eos_token_id=ends,
        pad_token_id=0,
    )
    return output[0, len(prompt) :].tolist()


def test_answers_are_those_of_transformers_wherever_they_end(model):
    free = [of_transformers(model, prompt, [96]) for prompt in PROMPTS]
    # Tokens at which rows end at different times.
    ends = sorted({free[0][3], free[1][7]})
    found = decode(model, PROMPTS, LIMIT, ends, 0)
    for prompt, answer in zip(PROMPTS, found, strict=True):
        assert answer.ids == of_transformers(model, prompt, ends)
        assert answer.ended == (answer.ids[-1] in ends)
    assert len({len(answer.ids) for answer in found}) > 1
    assert model.config._attn_implementation == "sdpa"


def test_a_row_draws_the_same_with_whatever_rows_beside_it(model):
    whole = decode(model, PROMPTS, LIMIT, [3, 4, 5, 6], 0, Sampler(range(6), 1.0))
    assert whole[0].ids != whole[2].ids
    for place, prompt in enumerate(PROMPTS):
        assert decode(model, [prompt], LIMIT, [3, 4, 5, 6], 0, Sampler([place], 1.0)) == [
            whole[place]
        ]


def test_a_prompt_that_stands_several_times_is_read_once(model):
    rows = []
    hook = model.register_forward_pre_hook(
        lambda module, args, inputs: rows.append(tuple(inputs["input_ids"].shape)), with_kwargs=True
    )
    decode(model, PROMPTS, 3, [], 0)
    hook.remove()
    assert rows == [(4, 9), (6, 1), (6, 1)]


def test_samples_have_the_models_probabilities_at_the_temperature():
    probabilities, temperature, count = np.array([0.6, 0.3, 0.1]), 0.5, 20_000
    sampler = Sampler(range(count), temperature)
    logits = torch.tensor(np.log(probabilities)).float().expand(count, 3)
    chosen = sampler(logits, torch.arange(count))
    expected = probabilities ** (1 / temperature)
    found = torch.bincount(chosen, minlength=3).numpy() / count
    np.testing.assert_allclose(found, expected / expected.sum(), atol=0.012)
