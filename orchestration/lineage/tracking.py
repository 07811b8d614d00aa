"""MLflow seen from the pipeline: one parent run a graph run, one nested run an artifact made."""

from __future__ import annotations

import itertools
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from orchestration.lineage import experiment
from orchestration.lineage.inputs import dataset_inputs, link_model, new_model
from orchestration.lineage.mlflow_retry import RetryingClient, TrackingError
from orchestration.lineage.prompts import register_prompts
from orchestration.lineage.registry import tracking_address
from orchestration.links import server_settings
from orchestration.turns import turn
from pipeline.variants import MAIN

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from pipeline.artifact import Artifact

EXPERIMENT = "rule-based-rewards"
GRAPH_RUN = "rbr.graph_run"
PLOT_SUFFIXES = {".png", ".md", ".html"}
SUMMARY = "summary.json"
LINEAGE = "lineage.json"


def git_commit(root: Path) -> str:
    """The commit checked out, with ``-dirty`` where files differ from it; ``unknown`` outside git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no git program
        return "unknown"
    return found.stdout.strip() or "unknown"


def artifacts_location(root: Path) -> str:
    """Where the files of runs are kept: a URI."""
    named = str(server_settings(root)["artifacts"])
    return named if "://" in named else (root / named).as_uri()


def flat(nested: Mapping[str, Any], inside: str = "") -> dict[str, Any]:
    """``{"rl": {"steps": 3}}`` -> ``{"rl.steps": 3}``."""
    result: dict[str, Any] = {}
    for key, value in nested.items():
        deeper = isinstance(value, Mapping)
        result |= flat(value, f"{inside}{key}.") if deeper else {f"{inside}{key}": value}
    return result


class StepRun:
    """The record of one artifact being made: a nested run of MLflow. Picklable; see ``pipeline.run``.

    Args:
        root: whose tracking store it is in.
        log: receives messages; in another process they are printed.
    """

    def __init__(self, root: Path, run_id: str, log: Callable[[str], None] = print) -> None:
        self._root = root
        self.run_id = run_id
        self._log = log

    def __getstate__(self) -> dict[str, Any]:
        return {"_root": self._root, "run_id": self.run_id, "_log": print}

    @cached_property
    def _client(self) -> MlflowClient:
        return open_client(self._root, self._log)

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        # MLflow allows only these characters in a name.
        entries = [
            Metric(name.replace("@", "_"), float(value), now, step or 0)
            for name, value in values.items()
        ]
        for start in range(0, len(entries), 500):
            self._client.log_batch(self.run_id, metrics=entries[start : start + 500])

    def table(self, name: str, rows: list[dict[str, Any]]) -> None:
        import pandas as pd

        self._client.log_table(self.run_id, pd.DataFrame(rows), artifact_file=f"{name}.json")

    def prompts(
        self, role: str, templates: Mapping[str, Any], identities: Mapping[str, str]
    ) -> None:
        register_prompts(self._client, self.run_id, role, templates, identities, self._log)

    def log(self, text: str) -> None:
        self._log(text)

    def files(self, folder: Path) -> None:
        """Log the plots and texts of an artifact's folder."""
        for path in sorted(folder.iterdir()):
            if path.suffix in PLOT_SUFFIXES or path.name == SUMMARY:
                self._client.log_artifact(self.run_id, str(path))

    def tags(self, values: Mapping[str, str]) -> None:
        for key, value in values.items():
            self._client.set_tag(self.run_id, key, value)

    def lineage(self, hashes: Mapping[str, str], rules: str, version: str) -> None:
        """Keep what the run read and made, by DVC hash: the file ``lineage.json``, its datasets and tags.

        Args:
            hashes: of ``Versions.hashes``.
            rules: digest of the rules.
            version: DVC hash of what it made.
        """
        self._client.log_dict(self.run_id, {"dvc": dict(hashes), "rules": rules}, LINEAGE)
        self.tags({"dvc.hash": version, "rules.digest": rules})
        self.datasets({key[4:]: value for key, value in hashes.items() if key.startswith("dep:")})

    def datasets(self, hashes: Mapping[str, str]) -> None:
        """Name the data that the run read: path -> DVC hash."""
        self._client.log_inputs(self.run_id, dataset_inputs(hashes))

    def model(self, name: str, version: str, parameters: Mapping[str, Any]) -> None:
        """Note that the run made a model, whose weights DVC has."""
        new_model(self._client, self.run_id, name, version, parameters)

    def made(self, version: str) -> None:
        """Note that the run ended with a model that another run made: the weights' DVC hash."""
        link_model(self._client, self.run_id, version)


def open_client(root: Path, log: Callable[[str], None]) -> MlflowClient:
    """A client of the tracking store that a root uses; it waits, logging so, for a server that is away."""
    # MLflow's and alembic's notes on a new database are no news to a user. MLflow reads the
    # variable as it is imported.
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    address = tracking_address(root)
    remote = address.startswith("http")
    if remote:
        # The waiting is ours, with a message; MLflow's own would be silent and longer each time.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    from mlflow import MlflowClient

    if remote:
        return cast("MlflowClient", RetryingClient(MlflowClient(address), address, log))
    (root / "mlflow").mkdir(exist_ok=True)
    with turn(root, "tracking"):  # the first makes the database
        return MlflowClient(address)


def _stopped(error: BaseException) -> bool:
    """Whether a person stopped what was being made, by Ctrl-C or in Dagster."""
    dagster = sys.modules.get("dagster")  # no command imports it for this
    return isinstance(error, KeyboardInterrupt) or (
        dagster is not None and isinstance(error, dagster.DagsterExecutionInterruptedError)
    )


class Tracking:
    """Runs of one root. Nothing is imported or written before the first artifact is made.

    Args:
        log: receives what is waited for; stderr by default.
    """

    def __init__(self, root: Path, log: Callable[[str], None] | None = None) -> None:
        self.root = root
        self._log = log or (lambda text: print(text, file=sys.stderr))

    @cached_property
    def client(self) -> MlflowClient:
        return open_client(self.root, self._log)

    @cached_property
    def experiment(self) -> str:
        client = self.client
        with turn(self.root, "tracking"):
            found = client.get_experiment_by_name(EXPERIMENT)
            if found:
                number, tags = str(found.experiment_id), found.tags
            else:
                # A tracking server decides by itself.
                local = not os.environ.get("MLFLOW_TRACKING_URI")
                location = artifacts_location(self.root) if local else None
                number = str(client.create_experiment(EXPERIMENT, artifact_location=location))
                tags = {}
            experiment.describe(client, number, tags)
        return number

    def opened(self, graph_run: str, kind: str, name: str, tags: Mapping[str, str]) -> str:
        """The run of a kind (tag ``rbr.step``) that a graph run has; made on first use."""
        number = self.experiment
        tags = {GRAPH_RUN: graph_run, "rbr.step": kind, **self._source("orchestration"), **tags}
        with turn(self.root, "tracking"):
            found = self.client.search_runs(
                [number], f"tags.`{GRAPH_RUN}` = '{graph_run}' and tags.`rbr.step` = '{kind}'"
            )
            run = found[0] if found else self.client.create_run(number, tags=tags, run_name=name)
        return str(run.info.run_id)

    def _source(self, path: str) -> dict[str, str]:
        """The tags that say which code of which commit a run is of, for people and for MLflow's columns."""
        commit = git_commit(self.root)
        known = {} if commit == "unknown" else {"mlflow.source.git.commit": commit[:40]}
        of = {"mlflow.source.type": "LOCAL", "mlflow.source.name": path}
        return {"git.commit": commit, **of, **known}

    def parent(self, graph_run: str, profile: str) -> str:
        """The parent run of a graph run; ``finish`` names it by its policy."""
        name = f"{profile} {time.strftime('%Y-%m-%d %H:%M')}"
        return self.opened(graph_run, "graph", name, {"rbr.profile": profile})

    @contextmanager
    def step(
        self,
        artifact: Artifact,
        name: str,
        graph_run: str,
        profile: str,
        parameters: Mapping[str, Any],
        log: Callable[[str], None],
    ) -> Iterator[StepRun]:
        """A nested run of that name for an artifact: finished, failed or killed as the block ends."""
        parent = self.parent(graph_run, profile)
        variant = artifact.variant.name if artifact.variant else artifact.external or "all"
        self._close_killed(graph_run, artifact.name, variant)
        tags = {
            "mlflow.parentRunId": parent,
            GRAPH_RUN: graph_run,
            "rbr.step": artifact.name,
            "rbr.variant": variant,
            "rbr.profile": profile,
            **self._source(f"assets/{artifact.name}.py"),
        }
        created = self.client.create_run(self.experiment, tags=tags, run_name=name)
        run = StepRun(self.root, str(created.info.run_id), log)
        for key, value in parameters.items():
            self.client.log_param(run.run_id, key, value)
        try:
            yield run
        except TrackingError:
            raise  # there is no server to tell
        except BaseException as error:
            if _stopped(error):
                self.client.set_terminated(run.run_id, "KILLED")
                raise
            with suppress(TrackingError):
                self.client.set_terminated(run.run_id, "FAILED")
                self.client.set_terminated(parent, "FAILED")
            raise
        self.client.set_terminated(run.run_id, "FINISHED")

    def _close_killed(self, graph_run: str, name: str, variant: str) -> None:
        """End what a killed worker left open of this artifact: it could not do so itself."""
        left = self.client.search_runs(
            [self.experiment],
            f"tags.`{GRAPH_RUN}` = '{graph_run}' and tags.`rbr.step` = '{name}'"
            f" and tags.`rbr.variant` = '{variant}' and attributes.status = 'RUNNING'",
        )
        for run in left:
            self.client.set_terminated(run.info.run_id, "KILLED")

    def finish(
        self,
        graph_run: str,
        profile: str,
        name: str,
        rules: str,
        settings: Mapping[str, Any],
        metrics: Mapping[str, float],
        files: Path,
    ) -> StepRun:
        """End the parent run with the release's figures and plots.

        Its parameters are the settings and the rules: MLflow's compare view shows what differs.

        Args:
            name: of the policy; another run that has it already is told apart by a number.
        """
        parent = self.parent(graph_run, profile)
        for key, value in {"rules": rules[:12], **flat(settings)}.items():
            self.client.log_param(parent, key, value)
        run = StepRun(self.root, parent)
        run.tags(
            {
                "mlflow.runName": self._unused(name, parent),
                "rules.digest": rules,
                "rbr.variant": MAIN.name,
            }
        )
        run.metrics({**metrics, **experiment.headline(metrics)})
        run.files(files)
        self.client.set_terminated(parent, "FINISHED")
        return run

    def _unused(self, name: str, run_id: str) -> str:
        """The name, with a number where another graph run has it."""
        found = self.client.search_runs(
            [self.experiment], f"tags.`rbr.step` = 'graph' and attributes.run_name LIKE '{name}%'"
        )
        taken = {run.info.run_name for run in found if run.info.run_id != run_id}
        numbered = (f"{name} · {number}" for number in itertools.count(2))
        return next(own for own in itertools.chain([name], numbered) if own not in taken)
