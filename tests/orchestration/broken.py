"""Bad data for every gate: how an artifact is broken, and what its gate must say."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rbr.settings import read_settings
from rbr.steps import STEPS, Context


@pytest.fixture
def context(finished, tmp_path):
    """The finished workspace's artifacts, copied so that a test may break them."""
    for name in ("data", "rules", "profiles"):
        shutil.copytree(finished.root / name, tmp_path / name)
    shutil.copytree(
        finished.root / "models",
        tmp_path / "models",
        ignore=shutil.ignore_patterns("*.safetensors"),
    )
    shutil.copy(finished.root / "params.yaml", tmp_path)
    return Context(tmp_path, read_settings(tmp_path)[1])


@dataclass(frozen=True)
class Broken:
    """Attributes:
    file: of the artifact's folder.
    edit: of a JSON file's value, of a JSONL file's rows, of a Parquet file's frame.
    said: what the gate's failure names.
    """

    artifact: str
    file: str
    edit: Callable[[Any], Any]
    said: str

    def apply(self, root: Context) -> Context:
        """Break the artifact (of the rbr variant, where there are); returns the gate's context."""
        own = Context(root.root, root.settings, "rbr" if STEPS[self.artifact].variants else None)
        change(own.path(self.artifact, own.variant) / self.file, self.edit)
        return own


def change(path: Path, edit: Callable[[Any], Any]) -> None:
    """Write a file anew with its value edited."""
    if path.suffix == ".parquet":
        frame = edit(pd.read_parquet(path))
        path.unlink()  # DVC may have linked it to its cache
        frame.to_parquet(path)
        return
    if path.suffix == ".jsonl":
        rows = edit([json.loads(line) for line in path.read_text().splitlines()])
        text = "".join(json.dumps(row) + "\n" for row in rows)
    elif path.suffix == ".json":
        text = json.dumps(edit(json.loads(path.read_text())))
    else:
        text = edit(path.read_text())
    path.unlink()
    path.write_text(text)


def with_(**values: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Values of a JSON object, double underscores for dots."""
    return lambda own: {**own, **{key.replace("__", "."): v for key, v in values.items()}}


def first(**values: Any) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    """Values of the first row."""
    return lambda rows: [{**rows[0], **values}, *rows[1:]]


def more(**values: Any) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    """The first row once more, with other values."""
    return lambda rows: [*rows, {**rows[0], **values}]


def without_first_label(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    own = (rows[0]["prompt_id"], rows[0]["label"])
    return [row for row in rows if (row["prompt_id"], row["label"]) != own]


def feature(name: str, value: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """A value of the first row of the first response type that has the feature."""

    def edit(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[frame.index[0], name] = value
        return frame

    return edit


def of_comply(key: str, value: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A value of the weights' report."""
    return lambda report: {**report, "comply": {**report["comply"], key: value}}


def wrong_total(report: dict[str, Any]) -> dict[str, Any]:
    errors = {**report["comply"]["pair_error"], "total": 1.5}
    return of_comply("pair_error", errors)(report)


def rewards_fall(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "reward": -1e9 * i} for i, row in enumerate(history)]


def f1_star(value: float | None) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def edit(comparison: dict[str, Any]) -> dict[str, Any]:
        head, *rest = comparison["rows"]
        return {**comparison, "rows": [{**head, "f1_star": [value, 0, 0]}, *rest]}

    return edit


def same_model_twice(comparison: dict[str, Any]) -> dict[str, Any]:
    return {**comparison, "rows": [comparison["rows"][0], *comparison["rows"]]}


TALK = [{"role": "user", "content": "something else entirely, of other words"}]

BROKEN = [
    Broken("safety_prompts", "eval.jsonl", lambda rows: rows[:0] + rows[:1], "eval_prompts >="),
    Broken("safety_prompts", "train.jsonl", more(id="copy-1"), "text: column values to be unique"),
    Broken("safety_prompts", "train.jsonl", more(conversation=TALK), "id: column values"),
    Broken("safety_prompts", "train.jsonl", first(response_type="shrug"), "response_type in"),
    Broken("safety_prompts", "train.jsonl", first(category=None), "category: column values to not"),
    Broken("gold_propositions", "metrics.json", with_(train_support__apology=-1), "support"),
    Broken("gold_propositions", "metrics.json", with_(heldout_support__apology=-1), "heldout >="),
    Broken("gold_propositions", "train.jsonl", more(id="copy-1"), "text: column values"),
    Broken("gold_propositions", "train.jsonl", first(completion=None), "completion: column values"),
    Broken("gold_propositions", "train.jsonl", lambda rows: rows[:1], "rows >="),
    Broken("helpful_preferences", "train.jsonl", first(chosen="a", rejected="a"), "same in False"),
    Broken("helpful_preferences", "train.jsonl", first(rejected=None), "rejected: column values"),
    Broken("helpful_preferences", "train.jsonl", more(), "id: column values to be unique"),
    Broken("human_preferences", "train.jsonl", first(simulated=False), "simulated in True"),
    Broken("human_preferences", "train.jsonl", first(chosen="a", rejected="a"), "same in False"),
    Broken("grader_accuracy", "per_proposition.jsonl", first(accuracy=-0.5), "accuracy >="),
    Broken("grader_accuracy", "per_proposition.jsonl", more(), "proposition: column values"),
    Broken("synthetic_comparisons", "train.jsonl", without_first_label, "labels: missing"),
    Broken("synthetic_comparisons", "train.jsonl", first(completion=""), "characters >= 1"),
    Broken("synthetic_comparisons", "train.jsonl", more(id="copy-1"), "prompt_id+completion"),
    Broken("helpful_reward_model", "metrics.json", with_(heldout_accuracy=-0.5), "-0.5"),
    Broken("human_reward_model", "metrics.json", with_(heldout_accuracy=-0.5), "-0.5"),
    Broken("graded_comparisons", "train.parquet", feature("class:ideal", None), "class:ideal"),
    Broken("graded_comparisons", "train.parquet", feature("class:ideal", 1.5), "class:ideal >="),
    Broken("graded_comparisons", "eval.parquet", feature("reward_model", float("inf")), "finite"),
    Broken("fitted_weights", "report.json", of_comply("sign_violations", ["x"]), "sign_violations"),
    Broken("fitted_weights", "report.json", of_comply("relative_duality_gap", 0.5), "gap <= 0.01"),
    Broken("fitted_weights", "report.json", wrong_total, "above_reward_model <="),
    Broken("sft_checkpoint", "metrics.json", with_(loss_first=1.0, loss_last=9.0), "ratio"),
    Broken("ppo_checkpoint", "metrics.json", with_(kl_last=1e9), "kl_last <="),
    Broken("ppo_checkpoint", "metrics.json", with_(length_last=-1.0), "length_ratio >="),
    Broken("ppo_checkpoint", "metrics.json", with_(distinct_last=-1.0), "distinct_last >="),
    Broken("ppo_checkpoint", "history.json", rewards_fall, "gain_high >="),
    Broken("judge", "metrics.json", with_(refusal_accuracy=-0.5), "refusal_accuracy >="),
    Broken("judge", "metrics.json", with_(disallowed_accuracy=-0.5), "disallowed_accuracy >="),
    Broken("baseline_eval", "metrics.json", with_(base__f1_star=1.5), "base.f1_star >= 0 and <= 1"),
    Broken("safety_eval", "metrics.json", with_(ppo__f1_star=None), "ppo.f1_star"),
    Broken("safety_eval", "metrics.json", with_(ppo__not_unsafe=-0.5), "ppo.not_unsafe >="),
    Broken("capability_eval", "metrics.json", with_(loss_rise=1e9), "loss_rise <="),
    Broken("model_release", "comparison.json", f1_star(None), "f1_star: column values to not be"),
    Broken("model_release", "comparison.json", f1_star(7.0), "f1_star >= 0"),
    Broken("model_release", "comparison.json", same_model_twice, "model: column values"),
]


def unknown_feature(text: str) -> str:
    return text.replace("    - apology\n", "    - apologgy\n", 1)
