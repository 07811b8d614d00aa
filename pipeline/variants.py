"""The policies that are compared: what each one's reward and demonstrations are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Variant:
    """One policy of the comparison; its artifacts have keys ``<variant>/<artifact>``.

    Attributes:
        reward_model: artifact that gives R_rm.
        weights: artifact with the weights of the rules on that R_rm; None where R_rm is all.
        demonstrations: whose answers to safety prompts its SFT model learns from (``rules``: ideal ones).
    """

    name: str
    reward_model: str
    weights: str | None
    demonstrations: Literal["none", "human", "rules"]

    @property
    def title(self) -> str:
        """How tables name it."""
        return self.name.replace("_", " ").replace("rbr", "RBR")

    def key(self, artifact: str) -> str:
        """Key of this variant's artifact."""
        return f"{self.name}/{artifact}"


# In the order of the paper's tables; section 6 has the rules on the human reward model.
VARIANTS: dict[str, Variant] = {
    variant.name: variant
    for variant in (
        Variant("helpful", "helpful_reward_model", None, "none"),
        Variant("human", "human_reward_model", None, "human"),
        Variant("human_rbr", "human_reward_model", "human_fitted_weights", "rules"),
        Variant("rbr", "helpful_reward_model", "fitted_weights", "rules"),
    )
}
# What the project is for: released, and compared with the others.
MAIN = VARIANTS["rbr"]
