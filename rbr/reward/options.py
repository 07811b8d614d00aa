"""How the weights of the rules are fitted."""

from __future__ import annotations

from pydantic import Field

from rbr.options import Options


class WeightOptions(Options):
    """Weight fitting. The L2 strength is chosen on validation prompts."""

    l2_path: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 0.3)
    constrain_signs: bool = True
    fixed: float | None = Field(
        None, gt=0, description="no fit: this size, with the sign that the rules state (ablation)"
    )
    reward_model: bool = Field(
        True,
        description="R_rm counts on safety prompts; without it the rules stand alone (ablation)",
    )
