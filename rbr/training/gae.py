"""Generalised advantage estimation (Schulman et al. 2016), on right-padded batches."""

from __future__ import annotations

from collections.abc import Callable

import torch


def gae(
    rewards: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor,
    gamma: float,
    lam: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Advantages and returns of finished episodes: after the last real token the value is 0.

    Args:
        rewards, values: (batch, time); ``values[:, t]`` is V of the state before token t.
        mask: (batch, time), 1 for real tokens; padding is on the right.

    Returns:
        ``(advantages, returns)`` of shape (batch, time), 0 on padding.
    """
    mask = mask.to(rewards.dtype)
    rewards, values = rewards * mask, values * mask
    advantage = torch.zeros_like(rewards[:, 0])
    following = torch.zeros_like(rewards[:, 0])
    reversed_advantages = []
    for t in range(rewards.size(1) - 1, -1, -1):
        delta = rewards[:, t] + gamma * following - values[:, t]
        advantage = (delta + gamma * lam * advantage) * mask[:, t]
        following = values[:, t]
        reversed_advantages.append(advantage)
    advantages = torch.stack(reversed_advantages[::-1], dim=1)
    return advantages, (advantages + values) * mask


Reduce = Callable[[torch.Tensor], torch.Tensor]


def moments(
    values: torch.Tensor, mask: torch.Tensor, reduce: Reduce
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance over the real tokens.

    Args:
        reduce: sums a tensor over processes, so that all get the same.
    """
    mask = mask.to(values.dtype)
    total, count = reduce(torch.stack([(values * mask).sum(), mask.sum()]))
    count = count.clamp(min=1)
    mean = total / count
    return mean, reduce(((values - mean).square() * mask).sum()) / count


def whiten(
    values: torch.Tensor, mask: torch.Tensor, reduce: Reduce = lambda sums: sums
) -> torch.Tensor:
    """Zero mean and unit variance over the real tokens (see ``moments``); padding stays 0."""
    mean, variance = moments(values, mask, reduce)
    return (values - mean) * torch.rsqrt(variance + 1e-8) * mask.to(values.dtype)
