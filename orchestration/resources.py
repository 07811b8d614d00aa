"""The resource that assets ask for their artifact."""

from __future__ import annotations

from typing import Any

import dagster as dg

from orchestration.execute import Outcome, Workspace, make, require_inputs, reuse, rules_digest
from orchestration.lineage.versions import InputsChangedError
from rbr.errors import RBRError
from rbr.settings import Variant
from rbr.steps import STEPS

GRAPH_RUN_TAG = "rbr/graph_run"
# The digest of the rules that a run compiled.
RULES_TAG = "rbr/rules"


class Pipeline(dg.ConfigurableResource):
    """Makes artifacts under ``root``, or gives back what was made from the same inputs."""

    root: str

    def materialize(
        self, context: dg.AssetExecutionContext, name: str
    ) -> dg.MaterializeResult[Any]:
        """Reuse or make an artifact; its DVC hash becomes the Dagster data version.

        Raises:
            dg.Failure: for bad input, in one line that names file, place and mend.
        """
        from pathlib import Path

        variant: Variant | None = context.partition_key if STEPS[name].variants else None  # type: ignore[assignment]
        run = context.run
        graph_run = run.tags.get(GRAPH_RUN_TAG) or run.root_run_id or run.run_id
        try:
            workspace = Workspace.open(Path(self.root), context.log.info)
            require_inputs(workspace, name, variant)
            outcome = reuse(workspace, name, variant)
            if outcome is not None:
                context.log.info("unchanged: given back, nothing computed")
            while outcome is None:
                try:
                    outcome = make(
                        workspace, name, variant, graph_run, context.log.info, commit=True
                    )
                except InputsChangedError:
                    # Compiling takes a second, and whoever edits will stop; the rest takes too long.
                    if name != "rules":
                        raise
                    context.log.info("edited meanwhile: compiled again")
        except RBRError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        if name == "rules":
            digest = rules_digest(workspace.root)
            context.instance.add_run_tags(run.run_id, {RULES_TAG: digest})
        return _result(name, outcome)


def _result(name: str, outcome: Outcome) -> dg.MaterializeResult[Any]:
    metadata: dict[str, Any] = {
        "path": dg.MetadataValue.path(str(outcome.folder)),
        "reused": outcome.reused,
        "dvc_hash": outcome.data_version,
        "metrics": dg.MetadataValue.md(_table(outcome.metrics)),
    }
    if outcome.run_id:
        metadata["mlflow_run"] = outcome.run_id
    for path in sorted(outcome.folder.glob("*.md")):
        metadata[path.stem] = dg.MetadataValue.md(path.read_text(encoding="utf-8"))
    for path in sorted(outcome.folder.glob("*.png")):
        metadata[path.stem] = dg.MetadataValue.md(image(path.read_bytes(), path.stem))
    for path in sorted(outcome.folder.glob("*.html")):
        metadata[path.stem] = dg.MetadataValue.url(path.resolve().as_uri())
    checks = []
    if outcome.gate is not None:
        checks.append(
            dg.AssetCheckResult(
                check_name="gate",
                passed=outcome.gate.passed,
                metadata={
                    "expectations": dg.MetadataValue.md(outcome.gate.markdown()),
                    "data_docs": dg.MetadataValue.path(outcome.gate.docs),
                    "failed": dg.MetadataValue.md("\n".join(outcome.gate.failures) or "none"),
                },
            )
        )
    return dg.MaterializeResult(
        asset_key=name,
        metadata=metadata,
        check_results=checks,
        data_version=dg.DataVersion(outcome.data_version),
    )


def _table(metrics: dict[str, float]) -> str:
    rows = [f"| {name} | {value:.4g} |" for name, value in sorted(metrics.items())]
    return "\n".join(["| metric | value |", "| --- | --- |", *rows])


def image(content: bytes, title: str) -> str:
    """A PNG as Markdown that holds it."""
    import base64

    return f"![{title}](data:image/png;base64,{base64.b64encode(content).decode()})"
