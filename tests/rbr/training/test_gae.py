"""GAE against its definition as a double sum."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rbr.training.gae import gae, whiten


def brute_force(rewards, values, lengths, gamma, lam):
    advantages = torch.zeros_like(rewards)
    for i, length in enumerate(lengths):
        deltas = [
            rewards[i, t] + (gamma * values[i, t + 1] if t + 1 < length else 0.0) - values[i, t]
            for t in range(length)
        ]
        for t in range(length):
            advantages[i, t] = sum((gamma * lam) ** (k - t) * deltas[k] for k in range(t, length))
    return advantages


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.lists(st.integers(1, 7), min_size=1, max_size=4),
    st.floats(0.5, 1.0),
    st.floats(0.0, 1.0),
)
def test_gae_is_the_double_sum_and_padding_is_zero(seed, lengths, gamma, lam):
    torch.manual_seed(seed)
    width = max(lengths)
    rewards = torch.randn(len(lengths), width, dtype=torch.float64)
    values = torch.randn(len(lengths), width, dtype=torch.float64)
    mask = torch.tensor([[float(t < length) for t in range(width)] for length in lengths])
    advantages, returns = gae(rewards, values, mask, gamma, lam)
    expected = brute_force(rewards, values, lengths, gamma, lam)
    torch.testing.assert_close(advantages, expected)
    torch.testing.assert_close(returns, (expected + values) * mask)
    assert (advantages[mask == 0] == 0).all()


def test_whitening_is_over_the_real_tokens():
    torch.manual_seed(0)
    values = torch.randn(3, 5) * 4 + 2
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 0, 0, 0, 0]]).float()
    result = whiten(values, mask)
    real = result[mask > 0]
    assert abs(real.mean().item()) < 1e-5
    assert abs(real.var(unbiased=False).item() - 1) < 1e-4
    assert (result[mask == 0] == 0).all()
