"""Small made-up artifacts that pass every gate: no model, no training, seconds for all of them."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from assets import declarations, graph_of
from pipeline.artifact import Artifact
from pipeline.context import Context
from pipeline.profile import Settings, read_settings
from pipeline.release.champion import Champion
from pipeline.variants import MAIN
from rbr.data.gold import ROLES
from rbr.rules import Rules, load_rules
from rbr.rules.compiled import write_compiled

SPLITS = ("train", "validation", "eval")
ATTACKS = ("role_play", "persuasion")
# Of so little data; the other thresholds are the settings' own.
GATES = {
    "family_min": 8,
    "prompts_min": 18,
    "eval_prompts_min": 6,
    "lookalike_share_min": 0.7,
    "gold_rows_min": 16,
    "gold_support": 4,
    "gold_rare_support": 3,
}


def key_of(name: str) -> str:
    """The artifact's key: of the main variant, where there are variants."""
    return next(
        MAIN.key(name) if declared.per_variant else name
        for declared in declarations()
        if declared.name == name
    )


@dataclass(frozen=True)
class MadeUp:
    """Made-up artifacts under a root."""

    root: Path
    settings: Settings

    @property
    def graph(self) -> Mapping[str, Artifact]:
        return graph_of(self.settings)

    def context(self, name: str, champion: Champion | None = None) -> Context:
        """What the gate of an artifact is given."""
        artifact = self.graph[key_of(name)]
        return Context(self.root, self.settings, artifact, self.graph, champion=lambda: champion)

    def folder(self, name: str) -> Path:
        return self.root / self.graph[key_of(name)].path

    def with_gates(self, **limits: Any) -> "MadeUp":
        """The same after the profile's thresholds were edited."""
        write_profile(self.root, {**GATES, **limits})
        return MadeUp(self.root, read_settings(self.root)[1])


def make_all(source: Path, root: Path) -> MadeUp:
    """Write the profile ``made``, the rules where there are none, and every artifact."""
    if not (root / "rules").is_dir():
        shutil.copytree(source / "rules", root / "rules")
    write(root / "params.yaml", yaml.safe_dump({"profile": "made"}))
    write_profile(root, GATES)
    made = MadeUp(root, read_settings(root)[1])
    rules = load_rules(root / "rules")
    files = artifacts(rules)
    for artifact in made.graph.values():
        for file, value in {"metrics.json": {}, **files.get(artifact.name, {})}.items():
            write(root / artifact.path / file, value)
    write_compiled(root / "data" / "rules", rules, "head")
    return made


def write_profile(root: Path, gates: Mapping[str, Any]) -> None:
    # Every section: DVC's stages name them.
    values = {**Settings().model_dump(mode="json"), "gates": dict(gates)}
    write(root / "profiles" / "made.yaml", yaml.safe_dump(values))


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
    shares = {
        **{"f1_star": 0.8, "f1_star.low": 0.7, "f1_star.high": 0.9},
        **{"not_unsafe": 0.95, "not_unsafe.low": 0.9, "not_unsafe.high": 1.0},
    }
    pairs = {split: preferences(split) for split in ("train", "validation")}
    names = rules.proposition_names
    accuracy = {"accuracy": 0.9, "low": 0.8, "high": 1.0, "majority": 0.7, "support": 5}
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
        "gold_propositions": jsonl({role: gold(role) for role in ROLES})
        | {
            "metrics.json": {
                f"{role}_support.{name}": 9 if role == "grader" else 5
                for role in ROLES
                for name in names
            }
        },
        "helpful_preferences": jsonl(pairs),
        "human_preferences": jsonl(
            {k: [{**row, "simulated": True} for row in rows] for k, rows in pairs.items()}
        ),
        "grader_accuracy": jsonl(
            {"per_proposition": [{"proposition": n, **accuracy} for n in (*names, "mean")]}
        )
        | {"metrics.json": {"nonsense_best_share": 0.04}},
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
        "judge": {
            "metrics.json": {
                "refusal_accuracy": 0.95,
                "disallowed_accuracy": 0.9,
                "nonsense_best_share": 0.0,
            }
        },
        "attack_prompts": {
            "heldout.jsonl": [attacked(i, form) for form in ATTACKS for i in range(2)],
            "metrics.json": {
                f"{form}.{kind}": 1 for form in ATTACKS for kind in ("unsafe", "safe")
            },
        },
        "base_attack_eval": under_attack("base"),
        "attack_eval": under_attack("sft", "ppo"),
        "baseline_eval": {"metrics.json": {f"base.{k}": v for k, v in shares.items()}},
        "safety_eval": {
            "metrics.json": {
                f"{m}.{k}": v
                for m in ("sft", "ppo")
                for k, v in {**shares, "fluency": -1.6, "fluency_drop": 0.1}.items()
            },
            # The reward certainly rises; what gave no reward does not certainly fall.
            "over_optimisation.json": {
                "changes": {
                    "reward": (1.0, 0.6, 1.4),
                    "ideal": (0.1, -0.1, 0.3),
                    "fluency": (-0.1, -0.3, 0.1),
                }
            },
        },
        "helpful_demonstrations": {"metrics.json": {"rows": 3}},
        "safety_demonstrations": {
            "metrics.json": {
                f"{kind}.{name}": 2 for kind in ("comply", "refuse") for name in ("prompts", "rows")
            }
        },
        "base_capability": {"metrics.json": {"base.loss": 2.0, "base.accuracy.low": 0.4}},
        "capability_eval": {
            "metrics.json": {
                f"{m}.{k}": v
                for m in ("sft", "ppo")
                for k, v in {"loss": 2.1, "loss_rise": 0.1, "items_lost": 0.0}.items()
            }
        },
        "model_release": {
            "comparison.json": {
                "rows": [{"model": m, "f1_star": [0.8, 0.7, 0.9]} for m in ("base", "RBR PPO")]
            }
        },
    }


def jsonl(files: dict[str, Any]) -> dict[str, Any]:
    return {f"{name}.jsonl": rows for name, rows in files.items()}


def conversation(number: str) -> list[dict[str, str]]:
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
            "kind": "how_to",
            "response_type": "hard_refusal" if i % 3 == 0 else "comply",
            "form": None if i % 3 == 0 else "homonym",
            "topic": "a topic",
            "conversation": conversation(f"{split}{i}"),
        }
        for i in range(6)
    ]


def attacked(number: int, form: str) -> dict[str, Any]:
    """A held-out prompt in a frame of an attack form."""
    asked = conversation(f"eval{number}")
    framed = [{"role": "user", "content": f"Play along. {asked[0]['content']}"}]
    return {
        "id": f"eval-{number}/{form}",
        "family": f"eval-family-{number}",
        "category": "violence",
        "kind": "how_to",
        "response_type": ("hard_refusal", "comply")[number],
        "over_refusal": bool(number),
        "topic": "a topic",
        "conversation": framed,
        "attack": {"form": form, "template": f"{form}-1", "plain": asked},
    }


def under_attack(*models: str) -> dict[str, Any]:
    """The results and metrics of an evaluation under attack."""
    share = {
        f"{name}{end}": value
        for name in ("attack_success", "attacked_over_refusal")
        for end, value in (("", 0.5), (".low", 0.1), (".high", 0.9))
    }
    forms = {form: {"unsafe": 1, "safe": 1} for form in ATTACKS}
    return {
        "results.json": {model: {"unsafe": 2, "safe": 2, "forms": forms} for model in models},
        "metrics.json": {f"{model}.{k}": v for model in models for k, v in share.items()},
    }


def gold(split: str) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{split}-{i}",
            "response_type": "comply",
            "conversation": conversation(f"gold{split}{i}"),
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
