"""How MLflow shows the experiment: as trainings, with the columns by which runs are compared.

MLflow keeps no columns for all users; what it has is a saved view, a tag of the experiment that a link
opens (``viewStateShareKey``) and that its menu *Views* lists.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.release.comparison_table import TITLES
from pipeline.variants import MAIN
from rbr.evaluation.metrics import METRICS

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from pipeline.artifact import Artifact
    from pipeline.profile import Settings
    from rbr.rules.rules import Rules

VIEW = "rbr"
COLUMNS = (
    *(f"metrics.`{name}`" for name in ("f1_star", "not_unsafe", "not_overrefuse")),
    *(f"metrics.`{name}`" for name in ("ideal_refusal", "fluency")),
    "tags.`rbr.variant`",
    "tags.`rbr.profile`",
    "tags.`rules.digest`",
    "attributes.`Version`",
    "attributes.`Dataset`",
    "attributes.`Models`",
    "attributes.`Source`",
)
DESCRIPTION = f"""\
A run per graph run, one nested in it per artifact made. The columns ({", ".join(TITLES[name] for name in METRICS[:4])})
are those of the view *{VIEW}*: menu **Views**, or [this link]({{link}}).
A graph run and a `ppo_checkpoint` have the name of the policy, the margins of its rules and the seed;
`lineage.json` of a run names what DVC has of all that it read and made.
"""


def view_path(experiment: str) -> str:
    """The saved view's path on an MLflow server, in its pages for trainings."""
    return f"#/experiments/{experiment}/runs?viewStateShareKey={VIEW}&workflowType=machine_learning"


def describe(client: MlflowClient, experiment: str, tagged: Mapping[str, str]) -> None:
    """Tag the experiment with its kind, description and saved view; what is there, people may have edited.

    Args:
        tagged: the tags that it has.
    """
    view = {"name": VIEW, "createdAt": 0, "updatedAt": 0, "state": json.dumps(_state())}
    tags = {
        "mlflow.experimentKind": "custom_model_development",
        "mlflow.experiment.primaryMetric.name": "f1_star",
        "mlflow.note.content": DESCRIPTION.format(link=view_path(experiment)),
        f"mlflow.sharedViewState.{VIEW}": json.dumps(view),
    }
    for key, value in tags.items():
        if key in tagged:
            continue
        client.set_experiment_tag(experiment, key, value)


def _state() -> dict[str, Any]:
    # These two are always shown.
    widths = {
        "attributes.`Run Name`": 280,
        "runDateAndNestInfo": 130,
        **dict.fromkeys(COLUMNS, 110),
    }
    return {
        "selectedColumns": COLUMNS,
        "columnOrder": [*widths],
        "columnWidths": widths,
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
    }


def headline(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics by which policies are compared, without the model's name; none where none is evaluated.

    Of a release they are the main policy's, of a variant's evaluation the trained policy's.
    """
    for model in (f"{MAIN.name}_ppo", "ppo", "base"):
        if f"{model}.f1_star" in metrics:
            named = {name: metrics.get(f"{model}.{name}") for name in METRICS}
            return {name: value for name, value in named.items() if value is not None}
    return {}


def run_name(artifact: Artifact, settings: Settings, rules: Rules | None) -> str:
    """How a person names the run that makes an artifact: ``rbr PPO · margin 5 · seed 0``.

    Args:
        rules: the compiled rules; None before there are any.
    """
    variant = artifact.variant
    if variant is None:
        return artifact.key.replace("_", " ").replace("/", " ")
    name = variant.name.replace("_", " ")
    stage, checkpoint, _ = artifact.name.partition("_checkpoint")
    if not checkpoint:
        return f"{name} {artifact.name.replace('_', ' ')}"
    parts = [f"{name} {stage.upper()}", f"seed {settings.seed}"]
    if rules and variant.weights and stage == "ppo":
        margins = sorted({rule.margin for rule in rules.reward.values()})
        parts.insert(1, f"margin {'/'.join(f'{margin:g}' for margin in margins)}")
    return " · ".join(parts)
