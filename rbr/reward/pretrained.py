"""A fitted reward in one folder, to be loaded by another project or trainer.

reward.json      options of the grader
rules/           the compiled rules
weights.json     as fitted
grader/          the fitted grader
grader_model/    the model that it asks, or whose tokenizer it reads; none for a model by name
reward_model/    R_rm, if any
"""

from __future__ import annotations

import importlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from rbr.errors import DataError, first_problem
from rbr.files import read_json, replacing, write_json
from rbr.grading.load import make_grader
from rbr.grading.options import GraderOptions
from rbr.reward.rule_based_reward import RuleBasedReward
from rbr.rules.compiled import load_compiled

FORMAT = 1


@dataclass(frozen=True)
class RewardParts:
    """Folders of what a reward is made of, and the grader's options.

    Attributes:
        weights: the file ``weights.json``.
        model: the grader's own model where its options name none.
        reward_model: of R_rm; None leaves it out.
    """

    rules: Path
    weights: Path
    grader: Path
    model: Path
    reward_model: Path | None
    options: GraderOptions


def export_reward(parts: RewardParts, target: Path) -> Path:
    """Copy a reward into one folder, whole or not at all.

    Raises:
        RBRError: if the folder cannot be written.
    """
    with replacing(target) as folder:
        folder.mkdir()
        options = parts.options.model_dump(mode="json")
        write_json(folder / "reward.json", {"format": FORMAT, "grader": options})
        shutil.copy(parts.weights, folder / "weights.json")
        shutil.copytree(parts.rules, folder / "rules")
        shutil.copytree(parts.grader, folder / "grader")
        if parts.options.model is None:
            # Heads read the model's tokenizer alone; its weights are in grader/backbone.
            weights = ("*.safetensors*",) if parts.options.engine == "head" else ()
            ignored = shutil.ignore_patterns(*weights)
            shutil.copytree(parts.model, folder / "grader_model", ignore=ignored)
        if parts.reward_model is not None:
            shutil.copytree(parts.reward_model, folder / "reward_model")
    return target


def load_reward(folder: Path) -> RuleBasedReward:
    """Load what ``export_reward`` wrote; see ``RuleBasedReward.from_pretrained``."""
    about = folder / "reward.json"
    if not about.is_file():
        raise DataError(
            "no exported reward here: `rbr reward export FOLDER` writes one, from a project whose"
            " reward is fitted",
            folder,
        )
    content = read_json(about)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(f"not of format {FORMAT}: export it again", about)
    try:
        options = GraderOptions.model_validate(content.get("grader"))
    except ValidationError as error:
        message = f"grader.{first_problem(error)}: export it again, with this version"
        raise DataError(message, about) from error
    rules = load_compiled(folder / "rules")
    grader = make_grader(options, rules, folder / "grader", folder / "grader_model")
    reward_model = None
    if (folder / "reward_model").is_dir():
        # Named, since training is a layer above the reward.
        training = importlib.import_module("rbr.training.reward_model")
        reward_model = training.RewardModel(folder / "reward_model")
    return RuleBasedReward.load(rules, folder / "weights.json", grader, reward_model)
