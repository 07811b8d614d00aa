"""MLflow seen from the pipeline: one parent run a graph run, one nested run a computed step."""

from __future__ import annotations

import logging
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml

from orchestration.lineage.patience import PatientClient, TrackingError
from rbr.registry import tracking_address

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "rule-based-rewards"
GRAPH_RUN = "rbr.graph_run"
PLOT_SUFFIXES = {".png", ".md", ".html"}
SUMMARY = "summary.json"


def git_commit(root: Path) -> str:
    """The commit checked out, with ``-dirty`` where files differ from it; ``unknown`` outside git."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or "unknown"


def artifacts_location(root: Path) -> str:
    """Where the files of runs are kept, as ``mlflow/server.yaml`` says: a URI."""
    settings = root / "mlflow" / "server.yaml"
    named = yaml.safe_load(settings.read_text()).get("artifacts") if settings.exists() else None
    if named and "://" in named:
        return str(named)
    return (root / (named or "mlflow/artifacts")).as_uri()


def flat(nested: Mapping[str, Any], inside: str = "") -> dict[str, Any]:
    """``{"rl": {"steps": 3}}`` -> ``{"rl.steps": 3}``."""
    result: dict[str, Any] = {}
    for key, value in nested.items():
        deeper = isinstance(value, Mapping)
        result |= flat(value, f"{inside}{key}.") if deeper else {f"{inside}{key}": value}
    return result


class StepRun:
    """The tracker of one step: writes to its nested run, and passes messages on."""

    def __init__(self, client: MlflowClient, run_id: str, say: Callable[[str], None]) -> None:
        self._client = client
        self.run_id = run_id
        self._say = say

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

    def message(self, text: str) -> None:
        self._say(text)

    def files(self, folder: Path) -> None:
        """Log the plots and texts of an artifact's folder."""
        for path in sorted(folder.iterdir()):
            if path.suffix in PLOT_SUFFIXES or path.name == SUMMARY:
                self._client.log_artifact(self.run_id, str(path))

    def tags(self, values: Mapping[str, str]) -> None:
        for key, value in values.items():
            self._client.set_tag(self.run_id, key, value)


class Tracking:
    """Runs of one root. Nothing is imported or written before the first step is computed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def client(self) -> MlflowClient:
        # MLflow's and alembic's notes on a new database are no news to a user. MLflow reads the
        # variable as it is imported.
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        logging.getLogger("alembic").setLevel(logging.WARNING)
        address = tracking_address(self.root)
        remote = address.startswith("http")
        if remote:
            # The waiting is ours, with a message; MLflow's own would be silent and longer each time.
            os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
            os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
        from mlflow import MlflowClient

        if remote:
            return cast("MlflowClient", PatientClient(MlflowClient(address), address))
        (self.root / "mlflow").mkdir(exist_ok=True)
        return MlflowClient(address)

    @cached_property
    def experiment(self) -> str:
        found = self.client.get_experiment_by_name(EXPERIMENT)
        if found:
            return str(found.experiment_id)
        # A tracking server decides by itself.
        own = not os.environ.get("MLFLOW_TRACKING_URI")
        location = artifacts_location(self.root) if own else None
        return str(self.client.create_experiment(EXPERIMENT, artifact_location=location))

    def opened(self, graph_run: str, kind: str, name: str, tags: Mapping[str, str]) -> str:
        """The run of a kind (tag ``rbr.step``) that a graph run has; made on first use."""
        found = self.client.search_runs(
            [self.experiment], f"tags.`{GRAPH_RUN}` = '{graph_run}' and tags.`rbr.step` = '{kind}'"
        )
        if found:
            return str(found[0].info.run_id)
        own = {GRAPH_RUN: graph_run, "rbr.step": kind, "git.commit": git_commit(self.root), **tags}
        return str(self.client.create_run(self.experiment, tags=own, run_name=name).info.run_id)

    def parent(self, graph_run: str, profile: str) -> str:
        """The parent run of a graph run; ``finish`` names it by its rules too."""
        name = f"{profile} {time.strftime('%Y-%m-%d %H:%M')}"
        return self.opened(graph_run, "graph", name, {"rbr.profile": profile})

    @contextmanager
    def step(
        self,
        name: str,
        variant: str | None,
        graph_run: str,
        profile: str,
        parameters: Mapping[str, Any],
        say: Callable[[str], None],
    ) -> Iterator[StepRun]:
        """A nested run for a step: finished, failed or killed as the block ends."""
        if isinstance(self.client, PatientClient):
            self.client.say = say
        parent = self.parent(graph_run, profile)
        self._close_killed(graph_run, name, variant)
        tags = {
            "mlflow.parentRunId": parent,
            GRAPH_RUN: graph_run,
            "rbr.step": name,
            "rbr.variant": variant or "all",
            "rbr.profile": profile,
            "git.commit": git_commit(self.root),
        }
        title = f"{name} {variant}" if variant else name
        run = self.client.create_run(self.experiment, tags=tags, run_name=title)
        for key, value in parameters.items():
            self.client.log_param(run.info.run_id, key, value)
        own = StepRun(self.client, run.info.run_id, say)
        try:
            yield own
        except KeyboardInterrupt:
            self.client.set_terminated(run.info.run_id, "KILLED")
            raise
        except TrackingError:
            raise  # nobody to tell
        except BaseException:
            with suppress(TrackingError):
                self.client.set_terminated(run.info.run_id, "FAILED")
                self.client.set_terminated(parent, "FAILED")
            raise
        self.client.set_terminated(run.info.run_id, "FINISHED")

    def _close_killed(self, graph_run: str, name: str, variant: str | None) -> None:
        """End what a killed worker left open of this step: it could not do so itself."""
        left = self.client.search_runs(
            [self.experiment],
            f"tags.`{GRAPH_RUN}` = '{graph_run}' and tags.`rbr.step` = '{name}'"
            f" and tags.`rbr.variant` = '{variant or 'all'}' and attributes.status = 'RUNNING'",
        )
        for run in left:
            self.client.set_terminated(run.info.run_id, "KILLED")

    def finish(
        self,
        graph_run: str,
        profile: str,
        rules: str,
        settings: Mapping[str, Any],
        metrics: Mapping[str, float],
        files: Path,
    ) -> None:
        """End the parent run with the release's figures and plots, named by the rules' digest too.

        Its parameters are the settings and the rules: MLflow's compare view shows what differs.
        """
        parent = self.parent(graph_run, profile)
        for key, value in {"rules": rules[:12], **flat(settings)}.items():
            self.client.log_param(parent, key, value)
        name = str(self.client.get_run(parent).info.run_name).split(" rules ")[0]
        self.client.set_tag(parent, "mlflow.runName", f"{name} rules {rules[:8]}")
        self.client.set_tag(parent, "rules.digest", rules)
        own = StepRun(self.client, parent, lambda text: None)
        own.metrics(metrics)
        own.files(files)
        self.client.set_terminated(parent, "FINISHED")
