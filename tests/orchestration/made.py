"""Small made-up artifacts that pass every gate: no model, no training, seconds for all of them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from rbr.rules import Rules, load_rules
from rbr.rules.compiled import write_compiled
from pipeline.profile import VARIANTS, read_settings
from rbr.steps import STEPS, Context

SPLITS = ("train", "validation", "eval")
# Of so little data; the other thresholds are the settings' own.
GATES = {
    "family_min": 8,
    "prompts_min": 18,
    "eval_prompts_min": 6,
    "lookalike_share_min": 0.7,
    "gold_rows_min": 12,
    "gold_train_support": 4,
    "gold_heldout_support": 2,
    "gold_rare_train_support": 3,
}


def make_all(source: Path, root: Path) -> Context:
    """Write the rules, the profile ``made`` and every artifact that has a gate."""
    shutil.copytree(source / "rules", root / "rules")
    write(root / "params.yaml", yaml.safe_dump({"profile": "made"}))
    write(root / "profiles" / "made.yaml", yaml.safe_dump({"gates": GATES}))
    rules = load_rules(root / "rules")
    for name, files in artifacts(rules).items():
        for variant in VARIANTS if STEPS[name].variants else ("",):
            for file, value in files.items():
                write(root / STEPS[name].folder / name / variant / file, value)
    (root / "data" / "rules").mkdir()
    write_compiled(root / "data" / "rules", rules, "head")
    return Context(root, read_settings(root)[1])


def own(made: Context, artifact: str) -> Context:
    """The context of an artifact's gate: of the rbr variant, where there are variants."""
    return Context(made.root, made.settings, "rbr" if STEPS[artifact].variants else None)


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        value.to_parquet(path, index=False)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in value))
    else:
        path.write_text(value if isinstance(value, str) else json.dumps(value))


def artifacts(rules: Rules) -> dict[str, dict[str, Any]]:
    """Each artifact's files that its gate reads."""
    shares = {"f1_star": 0.8, "f1_star.low": 0.7, "f1_star.high": 0.9, "not_unsafe": 0.95}
    pairs = {split: preferences(split) for split in ("train", "validation")}
    names = rules.proposition_names
    weights = {
        kind: {
            "pair_error": {"reward_model": 0.12, "rbr": 0.1, "total": 0.05},
            "sign_violations": [],
            "relative_duality_gap": 1e-6,
        }
        for kind in rules.response_types
    }
    return {
        "safety_prompts": jsonl({split: prompts(split) for split in SPLITS}),
        "gold_propositions": jsonl({split: gold(split) for split in ("train", "heldout")})
        | {
            "metrics.json": {
                **{f"train_support.{name}": 9 for name in names},
                **{f"heldout_support.{name}": 5 for name in names},
            }
        },
        "helpful_preferences": jsonl(pairs),
        "human_preferences": jsonl(
            {k: [{**row, "simulated": True} for row in rows] for k, rows in pairs.items()}
        ),
        "grader_accuracy": jsonl(
            {"per_proposition": [{"proposition": n, "accuracy": 0.9} for n in (*names, "mean")]}
        ),
        "synthetic_comparisons": jsonl({split: comparisons(rules, split) for split in SPLITS}),
        "helpful_reward_model": {"metrics.json": {"heldout_accuracy": 0.7}},
        "human_reward_model": {"metrics.json": {"heldout_accuracy": 0.7}},
        "graded_comparisons": {f"{split}.parquet": graded(rules) for split in SPLITS},
        "fitted_weights": {"report.json": weights},
        "human_fitted_weights": {"report.json": weights},
        "sft_checkpoint": {"metrics.json": {"loss_first": 2.0, "loss_last": 1.0}},
        "ppo_checkpoint": {
            "metrics.json": {
                "kl_last": 5.0,
                "length_first": 40.0,
                "length_last": 36.0,
                "distinct_last": 0.7,
            },
            "history.json": [{"reward": reward} for reward in (0.0, 0.2, 0.9, 1.1)],
        },
        "judge": {"metrics.json": {"refusal_accuracy": 0.95, "disallowed_accuracy": 0.9}},
        "baseline_eval": {"metrics.json": {f"base.{k}": v for k, v in shares.items()}},
        "safety_eval": {
            "metrics.json": {f"{m}.{k}": v for m in ("sft", "ppo") for k, v in shares.items()}
        },
        "capability_eval": {"metrics.json": {"loss_rise": 0.1, "sft.loss": 2.0, "ppo.loss": 2.1}},
        "model_release": {
            "comparison.json": {
                "rows": [{"model": m, "f1_star": [0.8, 0.7, 0.9]} for m in ("base", "RBR PPO")]
            }
        },
    }


def jsonl(files: dict[str, Any]) -> dict[str, Any]:
    return {f"{name}.jsonl": rows for name, rows in files.items()}


def talk(number: str) -> list[dict[str, str]]:
    """A user turn that shares no three words in a row with another number's."""
    words = ("how", "would", "one", "ask", "about")
    return [{"role": "user", "content": " ".join(f"{word}{number}" for word in words)}]


def prompts(split: str) -> list[dict[str, Any]]:
    """Two of three are to be complied with, all of those look unsafe."""
    return [
        {
            "id": f"{split}-{i}",
            "family": f"{split}-family-{i // 2}",
            "category": "violence",
            "response_type": "hard_refusal" if i % 3 == 0 else "comply",
            "form": None if i % 3 == 0 else "homonym",
            "conversation": talk(f"{split}{i}"),
        }
        for i in range(6)
    ]


def gold(split: str) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{split}-{i}",
            "response_type": "comply",
            "conversation": talk(f"gold{split}{i}"),
            "completion": f"Answer {i}.",
        }
        for i in range(6)
    ]


def preferences(split: str) -> list[dict[str, Any]]:
    """The longer answer is preferred in half of them."""
    answers = ("Short.", "An answer that is longer.")
    return [
        {
            "id": f"{split}-{i}",
            "family": f"{split}-family-{i}",
            "chosen": f"{i}: {answers[i % 2]}",
            "rejected": f"{i}: {answers[1 - i % 2]}",
            "simulated": False,
        }
        for i in range(4)
    ]


def comparisons(rules: Rules, split: str) -> list[dict[str, Any]]:
    """A prompt of each response type, with a completion of each label."""
    return [
        {
            "id": f"{split}-{kind}-{label}",
            "prompt_id": f"{split}-{kind}",
            "family": f"{split}-{kind}",
            "response_type": kind,
            "label": label,
            "completion": f"A completion that is {label}.",
            "confirmed": True,
        }
        for kind, rule in rules.reward.items()
        for rank in rule.ordering
        for label in rank
    ]


def graded(rules: Rules) -> pd.DataFrame:
    """Two rows of two response types; features of the other type are missing, as in the real ones."""
    return pd.DataFrame(
        [
            {
                "id": f"{kind}-{i}",
                "response_type": kind,
                "reward_model": 0.5,
                **dict.fromkeys(rules.feature_names(kind), 0.25),
            }
            for kind in ("hard_refusal", "comply")
            for i in range(2)
        ]
    )
