"""Log-probabilities of answers against the model's own logits."""

import numpy as np
import pytest
import torch

from rbr.evaluation.fluency import Fluency, Likelihood, mean_per_token
from rbr.models.load import prompt_text


def test_an_answers_likelihood_is_that_of_its_tokens_after_its_prompt(answers, tiny_model):
    conversations, texts = answers[0][:9], [*answers[1][:8], ""]
    fluency = Fluency(tiny_model, batch_size=4)
    found = fluency(conversations, texts)
    for turns, text, likelihood in zip(conversations, texts, found, strict=True):
        before, after = (
            fluency.tokenizer(t, add_special_tokens=False)["input_ids"]
            for t in (prompt_text(fluency.tokenizer, turns), text)
        )
        assert likelihood.tokens == len(after)
        with torch.no_grad():
            logits = fluency.model(input_ids=torch.tensor([before + after])).logits[0]
        logps = logits.log_softmax(-1)[len(before) - 1 : -1]
        expected = sum(float(logps[i, token]) for i, token in enumerate(after))
        assert likelihood.logp == pytest.approx(expected, abs=1e-3)
    assert found[-1] == Likelihood(0.0, 0)


def test_the_mean_is_over_tokens_and_its_interval_over_prompts():
    found = [Likelihood(-10.0, 10), Likelihood(-9.0, 3), Likelihood(0.0, 0), Likelihood(-4.0, 4)]
    value, low, high = mean_per_token(found, 2000)
    assert value == pytest.approx(-23 / 17)
    assert low < value < high
    assert low >= -3
    assert high <= 0


def test_without_any_token_there_is_no_fluency():
    assert np.isnan(mean_per_token([Likelihood(0.0, 0)], 10)).all()
