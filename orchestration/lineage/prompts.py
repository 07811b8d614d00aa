"""Grading prompts in MLflow's prompt registry: what a grade was asked with can be looked up."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from orchestration.lineage.mlflow_retry import latest_prompt
from rbr.files import digest_of

if TYPE_CHECKING:
    from mlflow import MlflowClient


def register_prompts(
    client: MlflowClient,
    run_id: str,
    role: str,
    templates: Mapping[str, Any],
    identities: Mapping[str, str],
    log: Callable[[str], None],
) -> None:
    """Register what propositions are asked with, and link the versions to a run.

    ``rbr.grader.apology`` is what the grader asks of that proposition: text, or the turns of a chat. A
    prompt that is registered as it is gets no new version. Its tag ``rbr.identity/IDENTITY`` says for
    which graders of the grade store (see ``Grader.identity``) it is the prompt. A store that keeps no
    prompts is no failure: the run's artifact has them too.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.prompt.constants import PROMPT_EXPERIMENT_IDS_TAG_KEY
    from mlflow.tracing.constant import TraceTagKey

    try:
        # Under this tag MLflow's page of the experiment finds its prompts. `register_prompt`, which sets it,
        # takes the experiment from a store of the working directory, and makes one there.
        experiment = client.get_run(run_id).info.experiment_id
        linked, tags = [], {PROMPT_EXPERIMENT_IDS_TAG_KEY: f",{experiment},"}
        for proposition, template in templates.items():
            name = f"rbr.{role}.{proposition}"
            if client.get_prompt(name) is None:
                client.create_prompt(name, tags=tags)
            version = latest_prompt(client, name)
            if version is None or version.template != template:
                digest = {"rbr.digest": digest_of(template)}
                version = client.create_prompt_version(name, template, tags=digest)
            user = f"rbr.identity/{identities[proposition]}"
            client.set_prompt_version_tag(name, version.version, user, run_id)
            linked.append({"name": name, "version": str(version.version)})
        # As `link_prompt_version_to_run` writes it, which looks for the run in another store too.
        client.set_tag(run_id, TraceTagKey.LINKED_PROMPTS, json.dumps(linked))
    except MlflowException as error:
        log(f"the grading prompts are not registered: MLflow says {error}")
