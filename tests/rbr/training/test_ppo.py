"""The separable parts of PPO, by hand."""

import pytest
import torch

from rbr.training.ppo import clipped_value_loss, distinct_bigrams


def test_the_value_loss_takes_the_larger_of_the_two_errors():
    values = torch.tensor([[1.0, 0.0]])
    old = torch.tensor([[0.0, 0.0]])
    returns = torch.tensor([[1.0, 2.0]])
    mask = torch.tensor([[1.0, 1.0]])
    # Token 1: unclipped error 0, clipped value 0.2 gives 0.64. Token 2: both give 4.
    assert clipped_value_loss(values, old, returns, mask, 0.2).item() == pytest.approx(
        0.5 * (0.64 + 4.0) / 2
    )


def test_the_value_loss_leaves_padding_out():
    values = torch.tensor([[1.0, 99.0]])
    loss = clipped_value_loss(
        values, values, torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]]), 0.2
    )
    assert loss.item() == pytest.approx(0.5)


def test_a_loop_has_few_distinct_pairs_and_padding_does_not_count():
    ids = torch.tensor([[1, 2, 1, 2, 1], [1, 2, 3, 9, 9]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    assert distinct_bigrams(ids, mask) == pytest.approx((2 / 4 + 1.0) / 2)
