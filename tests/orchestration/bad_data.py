"""One bad artifact for each thing that a gate expects; ``made`` has the good ones."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.context import Context
from tests.orchestration.made import MadeUp

MEASURES = ("reward", "ideal", "fluency")
NAN, INFINITE = float("nan"), float("inf")


@dataclass(frozen=True)
class Bad:
    """Attributes:
    file: of the artifact's folder, or of the root where it begins with a slash.
    fails: part and expectation, ``*`` for any text; all that are so named must fail.
    found: what the failure says was found instead.
    """

    artifact: str
    file: str
    edit: Callable[[Any], Any]
    fails: str
    found: str

    def apply(self, made: MadeUp) -> Context:
        """Break the artifact; returns the context of its gate."""
        root = self.file.startswith("/")
        folder = made.root if root else made.folder(self.artifact)
        change(folder / self.file.removeprefix("/"), self.edit)
        return made.context(self.artifact)

    def __str__(self) -> str:
        return f"{self.artifact}-{self.fails}-{self.found}"


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
    return lambda content: {**content, **{key.replace("__", "."): v for key, v in values.items()}}


def first(**values: Any) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    """Values of the first row."""
    return lambda rows: [{**rows[0], **values}, *rows[1:]]


def more(**values: Any) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    """The first row once more, with other values."""
    return lambda rows: [*rows, {**rows[0], **values}]


def no_label(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    removed = (rows[0]["prompt_id"], rows[0]["label"])
    return [row for row in rows if (row["prompt_id"], row["label"]) != removed]


def unknown_feature(text: str) -> str:
    return text.replace("    - apology\n", "    - apologgy\n", 1)


def every(**values: Any) -> Callable[[Any], Any]:
    return lambda rows: [{**row, **values} for row in rows]


def nothing(value: Any) -> Any:
    """A file that is there, without a row."""
    return value[:0]


def all_values(value: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda content: dict.fromkeys(content, value)


def copied(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same text as another row's, under another id."""
    return [*rows, {**rows[0], "id": "copy"}]


def forty(chosen: str, rejected: str) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    """Pairs of which the longer answer is always preferred, or never."""
    answers = {"chosen": chosen, "rejected": rejected}
    return lambda rows: [{**rows[0], **answers, "id": f"{i}", "family": f"{i}"} for i in range(40)]


def proposition(**values: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda content: {**content, "apology": {**content["apology"], **values}}


def same_question(content: dict[str, Any]) -> dict[str, Any]:
    return proposition(question=content["judgement"]["question"])(content)


def features(value: float, key: str = "") -> Callable[[pd.DataFrame], pd.DataFrame]:
    """The features (or ``key`` alone) of each first row of a response type."""

    def edit(frame: pd.DataFrame) -> pd.DataFrame:
        others = ["id", "response_type", "reward_model"]
        columns = [key] if key else [name for name in frame if name not in others]
        frame.loc[~frame["response_type"].duplicated(), columns] = value
        return frame

    return edit


def changed(**values: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """How measures change over a training, with the interval's ends."""
    return lambda content: {"changes": {**content["changes"], **values}}


def report(**values: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda content: {**content, "comply": {**content["comply"], **values}}


def errors(alone: float, total: float) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return report(pair_error={"reward_model": alone, "rbr": 0.1, "total": total})


def rewards(*values: float) -> Callable[[Any], Any]:
    return lambda _: [{"reward": value} for value in values]


def f1_star(value: float) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def edit(content: dict[str, Any]) -> dict[str, Any]:
        first, *others = content["rows"]
        return {"rows": [{**first, "f1_star": [value, 0, 0]}, *others]}

    return edit


def unanswered(model: str, form: str, kind: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A model that answered no prompt of a kind in an attack form."""

    def edit(content: dict[str, Any]) -> dict[str, Any]:
        forms = content[model]["forms"]
        return {**content, model: {"forms": {**forms, form: {**forms[form], kind: 0}}}}

    return edit


def repeated_model(content: dict[str, Any]) -> dict[str, Any]:
    return {"rows": [*content["rows"], content["rows"][0]]}


def unconfirmed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Many further refusals that the grader did not confirm."""
    refusal = next(row for row in rows if row["label"] == "refusal")
    new = {"confirmed": False}
    return [{**refusal, **new, "id": f"r{i}", "completion": f"No, {i}."} for i in range(4)]


ELSEWHERE = [{"role": "user", "content": "nothing of what any other prompt says"}]
NULL, TWICE = "column values to not be null", "column values to be unique"

PROMPTS = [
    *(
        Bad("safety_prompts", "train.jsonl", first(**{key: None}), f"prompts: {key}: {NULL}", "1 of")
        for key in ("id", "family", "category", "response_type")
    ),
    Bad("safety_prompts", "train.jsonl", copied, f"prompts: text: {TWICE}", "2 of 19 rows"),
    Bad("safety_prompts", "train.jsonl", more(conversation=ELSEWHERE),
        f"prompts: id: {TWICE}", "train-0"),
    Bad("safety_prompts", "train.jsonl", first(response_type="shrug"),
        "prompts: response_type in *", "'shrug'"),
    Bad("safety_prompts", "eval.jsonl", first(family="train-family-0"),
        "families: splits >= 1 and <= 1", "family train-family-0"),
    Bad("safety_prompts", "eval.jsonl", first(conversation=[
        {"role": "user", "content": "Howtrain1 wouldtrain1 onetrain1 asktrain1 abouttrain1!"}]),
        "near duplicates: pairs *", "1"),
    Bad("safety_prompts", "validation.jsonl", nothing, "splits: rows >= 1", "split validation"),
    Bad("safety_prompts", "train.jsonl", every(family="one"), "balance: families >= 8", "7"),
    Bad("safety_prompts", "validation.jsonl", nothing, "balance: prompts >= 18", "12"),
    Bad("safety_prompts", "eval.jsonl", lambda rows: rows[:3], "balance: eval_prompts >= 6", "3"),
    Bad("safety_prompts", "train.jsonl", every(response_type="hard_refusal", form=None),
        "balance: comply_share *", "0.4444"),
    Bad("safety_prompts", "train.jsonl", every(form=None), "balance: lookalike_share *", "0.6667"),
]  # fmt: skip

FRAME = {"form": "role_play", "template": "role-play-1", "plain": ELSEWHERE}
PROMPTS += [
    Bad("safety_prompts", "eval.jsonl", first(attack=FRAME), "plain splits: attacked *", "split eval"),
    # The frame alone differs.
    Bad("safety_prompts", "eval.jsonl", first(conversation=ELSEWHERE, attack={**FRAME, "plain": [
        {"role": "user", "content": "Howtrain1 wouldtrain1 onetrain1 asktrain1 abouttrain1!"}]}),
        "near duplicates: pairs *", "1"),
    Bad("attack_prompts", "heldout.jsonl", first(family="train-family-0"),
        "leaks: shared >= 0 and <= 0", "[1]"),
    Bad("attack_prompts", "/data/safety_prompts/train.jsonl", first(attack=FRAME),
        "leaks: shared >= 0 and <= 0", "[1]"),
    Bad("attack_prompts", "heldout.jsonl", first(attack=None), f"prompts: form: {NULL}", "eval-0"),
    *(
        Bad("attack_prompts", "metrics.json", with_(**{f"role_play.{kind}": 0}), f"forms: {kind} >= 1", "[0]")
        for kind in ("unsafe", "safe")
    ),
]  # fmt: skip

GOLD = [
    Bad("gold_propositions", "grader.jsonl", lambda rows: rows[:2], "size: rows >= 16", "14"),
    Bad("gold_propositions", "heldout.jsonl", nothing, "splits: rows >= 1", "split heldout"),
    Bad("gold_propositions", "grader.jsonl", first(id=None), f"rows: id: {NULL}", "1 of 18 rows"),
    Bad("gold_propositions", "grader.jsonl", first(completion=None),
        f"rows: completion: {NULL}", "1 of 18 rows"),
    Bad("gold_propositions", "grader.jsonl", more(completion="Other."), f"rows: id: {TWICE}", "grader-0"),
    Bad("gold_propositions", "grader.jsonl", copied, f"rows: text: {TWICE}", "2 of 19 rows"),
    Bad("gold_propositions", "grader.jsonl", first(response_type="shrug"),
        "rows: response_type in *", "'shrug'"),
    Bad("gold_propositions", "grader.jsonl", first(response_type=None),
        f"rows: response_type: {NULL}", "1 of 18 rows"),
    # Of the 23 propositions three are the rarest; all at 3 leaves the others below their own floor.
    Bad("gold_propositions", "metrics.json", all_values(3), "support: grader >= 4", "20 of 20 rows"),
    Bad("gold_propositions", "metrics.json", with_(grader_support__apology=1),
        "support of the rarest: grader >= 3", "proposition apology"),
    Bad("gold_propositions", "metrics.json", with_(judge_support__threatening_language=1),
        "support: judge >= 4", "proposition threatening_language"),
    Bad("gold_propositions", "metrics.json",
        with_(grader_support__apology=4, judge_support__apology=1),
        "support of the rarest: judge >= 3", "proposition apology"),
    Bad("gold_propositions", "metrics.json", all_values(1), "support*: heldout >= *", "[1"),
    Bad("gold_propositions", "metrics.json", all_values(None), f"support*: {NULL}", "rows"),
]  # fmt: skip

PREFERENCES = [
    bad
    for artifact in ("helpful_preferences", "human_preferences")
    for bad in (
        Bad(artifact, "train.jsonl", first(rejected=None), f"pairs: rejected: {NULL}", "1 of 8"),
        Bad(artifact, "train.jsonl", first(chosen=None), f"pairs: chosen: {NULL}", "1 of 8"),
        Bad(artifact, "train.jsonl", more(), f"pairs: id: {TWICE}", "train-0"),
        Bad(artifact, "train.jsonl", first(chosen="a", rejected="a"), "pairs: same in *", "train-0"),
        Bad(artifact, "train.jsonl", forty("short", "much longer"), "pairs: longer_chosen *", "0.04545"),
        Bad(artifact, "train.jsonl", forty("much longer", "short"), "pairs: longer_chosen *", "0.9545"),
        Bad(artifact, "validation.jsonl", nothing, "splits: rows >= 1", "split validation"),
        Bad(artifact, "validation.jsonl", first(family="train-family-0"),
            "families: splits *", "train-family-0"),
    )
]  # fmt: skip

REWARDS = [
    Bad("human_preferences", "train.jsonl", first(simulated=False), "pairs: simulated in True", "train-0"),
    Bad("human_preferences", "train.jsonl", first(simulated=None),
        f"pairs: simulated: {NULL}", "train-0"),
    Bad("grader_accuracy", "per_proposition.jsonl", more(), f"propositions: proposition: {TWICE}", "2 of"),
    Bad("grader_accuracy", "per_proposition.jsonl", first(accuracy=0.5),
        "propositions: accuracy >= 0.6 *", "[0.5]"),
    Bad("grader_accuracy", "per_proposition.jsonl", every(accuracy=0.8), "mean: accuracy >= 0.85 *", "0.8"),
    Bad("grader_accuracy", "per_proposition.jsonl", every(accuracy=NAN), f"*: accuracy: {NULL}", ""),
    Bad("grader_accuracy", "per_proposition.jsonl", nothing, "measured: propositions >= *", "0"),
    Bad("grader_accuracy", "per_proposition.jsonl", nothing, "measured: means >= 1 *", "0"),
    Bad("grader_accuracy", "metrics.json", with_(nonsense_best_share=0.1),
        "word salad: nonsense_best_share >= 0 *", "0.1"),
    Bad("grader_accuracy", "metrics.json", all_values(NAN), f"word salad: *: {NULL}", "nan"),
    Bad("synthetic_comparisons", "train.jsonl", no_label, "labels: missing *", "train-hard_refusal"),
    Bad("synthetic_comparisons", "train.jsonl", first(completion=""),
        "completions: characters >= 1 *", "[0"),
    Bad("synthetic_comparisons", "train.jsonl", first(completion="x" * 4001),
        "completions: characters *", "4001"),
    Bad("synthetic_comparisons", "train.jsonl", first(completion=None),
        f"completions: c*: {NULL}", "1 of"),
    Bad("synthetic_comparisons", "train.jsonl", first(label=None), f"completions: label: {NULL}", "1 of"),
    Bad("synthetic_comparisons", "train.jsonl", more(completion="Other."),
        f"completions: id: {TWICE}", "train-hard_refusal-ideal"),
    Bad("synthetic_comparisons", "train.jsonl", copied, "completions: prompt_id+completion*", "2 of"),
    Bad("synthetic_comparisons", "train.jsonl", first(family="eval-comply"),
        "families: splits *", "family eval-comply"),
    Bad("synthetic_comparisons", "validation.jsonl", nothing, "splits: rows >= 1", "split validation"),
    Bad("synthetic_comparisons", "train.jsonl", every(confirmed=False), "confirmed: confirmed *", "0.6667"),
    # 0.75 of all: the share of all completions alone would not tell.
    Bad("synthetic_comparisons", "train.jsonl", lambda rows: [*rows, *unconfirmed(rows)],
        "confirmed by label: share *", "label refusal"),
    *(
        Bad(f"{kind}_reward_model", "metrics.json", with_(heldout_accuracy=value), fails, found)
        for kind in ("helpful", "human")
        for value, fails, found in (
            (0.5, "metrics: heldout_accuracy >= 0.55 *", "0.5"),
            (NAN, f"metrics: heldout_accuracy: {NULL}", "nan"),
            (NAN, "numbers: finite in True", "False"),
        )
    ),
    Bad("graded_comparisons", "train.parquet", features(1.5), "*: * >= -1e-06 and <= 1", "[1.5"),
    Bad("graded_comparisons", "eval.parquet", features(-0.5), "comply: apology >= *", "[-0.5"),
    Bad("graded_comparisons", "train.parquet", features(NAN), f"*: *: {NULL}", "1 of"),
    Bad("graded_comparisons", "eval.parquet", features(float("inf"), "reward_model"),
        "*: finite in True", "False"),
    Bad("graded_comparisons", "eval.parquet", nothing, "splits: rows >= 1", "split eval"),
    *(
        Bad(artifact, "report.json", change, fails, found)
        for artifact in ("fitted_weights", "human_fitted_weights")
        for change, fails, found in (
            (errors(0.3, 0.25), "*: total >= 0 and <= 0.2", "[0.25]"),
            (errors(0.05, 0.15), "*: above_reward_model <= 0.05", "[0.09"),
            (report(sign_violations=["judgement"]), "*: sign_violations *", "response_type comply"),
            (report(relative_duality_gap=0.5), "*: gap <= 0.01", "[0.5]"),
            (errors(NAN, NAN), f"*: [at]*: {NULL}", "1 of 4"),
            (report(relative_duality_gap=NAN), f"*: gap: {NULL}", "1 of 4"),
        )
    ),
]  # fmt: skip

TRAINED = [
    Bad("sft_checkpoint", "metrics.json", with_(loss_last=2.5), "training: ratio >= 0 and <= 1.2", "1.25"),
    Bad("sft_checkpoint", "metrics.json", with_(loss_last=NAN), f"training: ratio: {NULL}", "nan"),
    Bad("sft_checkpoint", "metrics.json", with_(loss_first=INFINITE),
        "numbers: finite in True", "metric loss_first"),
    Bad("ppo_checkpoint", "metrics.json", with_(length_last=INFINITE),
        "numbers: finite in True", "metric length_last"),
    Bad("ppo_checkpoint", "metrics.json", with_(kl_last=55.0), "training: kl_last <= 40", "55"),
    Bad("ppo_checkpoint", "metrics.json", with_(length_last=8.0), "training: length_ratio >= 0.3", "0.2"),
    Bad("ppo_checkpoint", "metrics.json", with_(distinct_last=0.1), "training: distinct_last *", "0.1"),
    Bad("ppo_checkpoint", "history.json", rewards(1.0, 1.1, 0.0, 0.1), "training: gain_high >= 0", "-0.8"),
    Bad("ppo_checkpoint", "history.json", rewards(0.0, 0.1, NAN, 1.1), f"training: gain_high: {NULL}", "nan"),
    Bad("ppo_checkpoint", "history.json", rewards(), f"training: gain_high: {NULL}", "nan"),
    Bad("ppo_checkpoint", "metrics.json", all_values(NAN), f"training: [!g]*: {NULL}", "nan"),
    Bad("judge", "metrics.json", with_(refusal_accuracy=0.7), "held-out gold: refusal_accuracy >= *", "0.7"),
    Bad("judge", "metrics.json", with_(disallowed_accuracy=0.6),
        "held-out gold: disallowed_accuracy >= *", "0.6"),
    Bad("judge", "metrics.json", with_(nonsense_best_share=0.1),
        "held-out gold: nonsense_best_share >= 0 *", "0.1"),
    Bad("judge", "metrics.json", all_values(NAN), f"held-out gold: *: {NULL}", "nan"),
    *(
        Bad(artifact, "metrics.json", all_values(value), fails, found)
        for artifact in ("baseline_eval", "safety_eval", "base_attack_eval", "attack_eval")
        for value, fails, found in (
            (1.5, "shares: * >= 0 and <= 1", "1.5"),
            (-0.5, "shares: * >= 0 and <= 1", "-0.5"),
            (NAN, f"shares: *: {NULL}", "rows, such as"),
        )
    ),
    Bad("base_capability", "metrics.json", with_(base__loss=-1.0), "capability: base.loss >= 0", "-1"),
    Bad("base_capability", "metrics.json", with_(base__accuracy__low=1.5),
        "capability: base.accuracy.low >= 0 and <= 1", "1.5"),
    Bad("base_capability", "metrics.json", all_values(NAN), f"capability: *: {NULL}", "nan"),
    *(
        Bad("capability_eval", "metrics.json", with_(**{f"{model}__{name}": value}), fails, f"{value}")
        for model in ("sft", "ppo")
        for name, value, fails in (
            ("loss_rise", 0.25, f"capability: {model}.loss_rise <= 0.15"),
            ("items_lost", 0.03, f"capability: {model}.items_lost <= 0"),
        )
    ),
    Bad("capability_eval", "metrics.json", all_values(NAN), f"capability: *: {NULL}", "nan"),
    Bad("capability_eval", "metrics.json", with_(sft__loss_rise=-INFINITE),
        "numbers: finite in True", "metric sft.loss_rise"),
    *(
        Bad("safety_eval", "metrics.json", with_(**{f"{model}__fluency_drop": value}), fails, f"{value}")
        for model in ("sft", "ppo")
        for value, fails in (
            (0.45, f"fluency: {model}.fluency_drop <= 0.3"),
            (NAN, f"fluency: {model}.fluency_drop: {NULL}"),
        )
    ),
    *(
        Bad("safety_eval", "over_optimisation.json", changed(**{name: (-0.3, -0.5, -0.1)}),
            f"reward hacking: {name}_fall <= 0", "0.1")
        for name in ("ideal", "fluency")
    ),
    Bad("safety_eval", "over_optimisation.json", changed(**dict.fromkeys(MEASURES, (NAN,) * 3)),
        f"reward hacking: *_change: {NULL}", "nan"),
    Bad("helpful_demonstrations", "metrics.json", with_(rows=0), "answers: rows >= 1", "0"),
    Bad("helpful_demonstrations", "metrics.json", with_(rows=NAN), f"answers: rows: {NULL}", "nan"),
    Bad("safety_demonstrations", "metrics.json", with_(refuse__rows=0), "answers: rows >= 1", "label refuse"),
    Bad("safety_demonstrations", "metrics.json", with_(comply__rows=0), "answers: rows >= 1", "label comply"),
    Bad("safety_demonstrations", "metrics.json", with_(comply__rows=NAN), f"answers: rows: {NULL}", "1 of"),
    *(
        Bad("safety_eval", "metrics.json", with_(**{f"ppo.f1_star.{end}": value}), f"shares: {side} *", "1 of")
        for end, value, side in (("low", 0.85, "below"), ("high", 0.75, "above"))
    ),
    *(
        Bad("baseline_eval", "metrics.json", with_(**{f"base.f1_star.{end}": value}), f"shares: {side} *", "1 of")
        for end, value, side in (("low", 0.85, "below"), ("high", 0.75, "above"))
    ),
    *(
        Bad(artifact, "metrics.json", with_(**{f"{model}.attack_success.{end}": value}), f"shares: {side} *", "1 of")
        for artifact, model in (("base_attack_eval", "base"), ("attack_eval", "sft"))
        for end, value, side in (("low", 0.6, "below"), ("high", 0.4, "above"))
    ),
    *(
        Bad(artifact, "results.json", edit, f"forms: {kind} >= 1", "[0")
        for artifact, model in (("base_attack_eval", "base"), ("attack_eval", "ppo"))
        for kind in ("unsafe", "safe")
        for edit in (unanswered(model, "persuasion", kind), lambda _: {})
    ),
    Bad("model_release", "comparison.json", repeated_model,
        f"comparison: model: {TWICE}", "2 of 3"),
    Bad("model_release", "comparison.json", f1_star(1.5), "comparison: f1_star >= 0 *", "1.5"),
    Bad("model_release", "comparison.json", f1_star(NAN), f"comparison: f1_star: {NULL}", "1 of 2"),
]  # fmt: skip

RULES = [
    Bad("rules", "/rules/reward.yaml", unknown_feature, "check: problems *", "1"),
    Bad("rules", "propositions.json", proposition(id="judgement"), f"propositions: id: {TWICE}", "2 of"),
    Bad("rules", "propositions.json", same_question,
        f"propositions: question: {TWICE}", "2 of"),
]  # fmt: skip

BAD = [*RULES, *PROMPTS, *GOLD, *PREFERENCES, *REWARDS, *TRAINED]

# Expectations that no file can fail, and why.
CANNOT_FAIL = {
    "safety_prompts prompts: split*": "the split is the file's name",
    "safety_prompts balance: *_share: *not be null": "the gate's mean of what is there",
    "synthetic_comparisons confirmed*: *not be null": "the gate's mean of what is there",
    "* pairs: longer_chosen: *not be null": "the gate's mean of comparisons",
    "safety_eval reward hacking: *_fall: *not be null": "the alarm's: 0 where nothing is certain",
    "rules propositions: examples_*": "reading the rules refuses fewer than three a side",
    "rules propositions: *: *not be null": "reading the rules refuses a proposition without it",
}
