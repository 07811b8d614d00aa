"""Grading prompts in MLflow's prompt registry: what a grade was asked with can be looked up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from rbr.files import digest_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

# ``rbr.grader.apology``: the prompt of that proposition.
PREFIX = "rbr.grader"


def register_prompts(
    client: MlflowClient,
    run_id: str,
    templates: Mapping[str, str],
    identities: Mapping[str, str],
    log: Callable[[str], None],
) -> None:
    """Register what propositions are asked with, and link the versions to a run.

    A prompt that is registered as it is gets no new version. Its tag ``rbr.grader/IDENTITY`` says for
    which graders of the grade store (see ``Grader.identity``) it is the prompt. A store that keeps no
    prompts is no failure: the run's artifact has them too.
    """
    from mlflow.exceptions import MlflowException

    try:
        for proposition, template in templates.items():
            name = f"{PREFIX}.{proposition}"
            latest = client.load_prompt(
                f"prompts:/{name}@latest", allow_missing=True, cache_ttl_seconds=0
            )
            if latest is None or latest.template != template:
                tags = {"rbr.digest": digest_of(template)}
                latest = client.register_prompt(name, template, tags=tags)
            user = f"rbr.grader/{identities[proposition]}"
            client.set_prompt_version_tag(name, latest.version, user, run_id)
            client.link_prompt_version_to_run(run_id, latest)
    except MlflowException as error:
        log(f"the grading prompts are not registered: MLflow says {error}")
