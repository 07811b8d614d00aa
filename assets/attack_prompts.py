"""Held-out prompts in frames of attack forms that no training saw."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from pipeline import rows
from pipeline.artifact import artifact
from pipeline.attacks import KINDS, every_form, forms_of
from pipeline.compiled_rules import compiled_rules
from pipeline.context import Context
from pipeline.gates import Part, between, present
from rbr.data.attacks import attack_answers, attack_templates, heldout_attacks
from rbr.files import read_json, write_rows


@artifact(
    folder="data",
    group="data",
    inputs=("rules", "safety_prompts"),
    sources=("data/source/safety_prompts",),
    rules=("response_types",),
    settings=("attacks",),
    kinds=("python", "dataset"),
)
def attack_prompts(context: Context, output: Path) -> Mapping[str, float]:
    """Held-out prompts, unsafe and safe, in frames of attack forms that no training saw."""
    folder = context.source / "safety_prompts"
    templates = attack_templates(folder)["heldout"]
    heldout = rows.safety_prompts(context, "eval")
    count, seed = context.settings.attacks.heldout_prompts, context.settings.seed
    found = heldout_attacks(heldout, templates, count, seed)
    write_rows(output / "heldout.jsonl", found)
    answers = attack_answers(folder, compiled_rules(context).response_types)
    write_rows(output / "answers.jsonl", answers)
    metrics = {"prompts": len(found), "answers": len(answers)}
    if count:
        for form in sorted({template.form for template in templates}):
            own = [row for row in found if row.attack and row.attack.form == form]
            safe = sum(row.over_refusal for row in own)
            metrics |= {f"{form}.unsafe": len(own) - safe, f"{form}.safe": safe}
    return metrics


@attack_prompts.gate
def expectations(context: Context) -> list[Part]:
    found = read_json(context.folder / "metrics.json")
    forms = pd.DataFrame(
        [
            {"form": name, **{kind: found[f"{name}.{kind}"] for kind in KINDS}}
            for name in forms_of(found)
        ],
        columns=["form", *KINDS],
    )
    attacked = rows.attacked_prompts(context)
    train = rows.safety_prompts(context, "train")
    frame = pd.DataFrame(
        [{"id": row.id, "form": row.attack and row.attack.form} for row in attacked],
        columns=["id", "form"],
    )
    trained = [row.attack for row in train if row.attack]
    pairs = [
        ("families", {row.family for row in train}, {row.family for row in attacked}),
        ("forms", {attack.form for attack in trained}, set(frame["form"])),
    ]
    shared = [{"what": what, "shared": len(one & other)} for what, one, other in pairs]
    why = "what training saw would not be held out"
    return [
        Part("prompts", frame, present("form")),
        Part("forms", forms, every_form("prompts")),
        Part("leaks", pd.DataFrame(shared), [between("shared", 0, 0, why)]),
    ]
