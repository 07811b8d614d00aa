"""The written prompts with the response types that the policy gives them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rbr.data.rows import PolicyPrompt, Prompt
from rbr.data.splits import kept_prompts
from rbr.errors import DataError
from rbr.files import read_folder

if TYPE_CHECKING:
    from rbr.data.options import SplitOptions
    from rbr.rules.rules import Rules


def policy_prompts(
    folder: Path, rules: Rules, options: SplitOptions, seed: int
) -> dict[str, list[PolicyPrompt]]:
    """Read the prompts of a folder, and split them by family.

    Raises:
        DataError: if a prompt that the policy refuses has a written answer, or one that it complies
            with has none.
    """
    rows = []
    for prompt in read_folder(folder, Prompt):
        response_type = rules.response_type(prompt.category, prompt.kind)
        if (response_type == "comply") != (prompt.answer is not None):
            raise DataError(
                f"row '{prompt.id}': answer and partial are for comply prompts, and each of those has"
                f" them; the policy gives this one '{response_type}'",
                folder,
            )
        rows.append(PolicyPrompt(**prompt.model_dump(), response_type=response_type))
    return kept_prompts(rows, options, seed)
