"""A Dagster job an ablation: an op an arm, then the comparison."""

from pathlib import Path
from typing import Any

import dagster as dg

from orchestration.ablation.run import conclude, run_arm
from orchestration.ablation.workspace import slug
from orchestration.resources import GRAPH_RUN_TAG, image
from rbr.ablations import Ablation, read_ablations
from rbr.errors import RBRError


def job_name(ablation: str) -> str:
    """Name of an ablation's job."""
    return f"ablation_{ablation}"


def ablation_jobs(root: Path) -> list[dg.JobDefinition]:
    """The jobs of all ``ablations/*.yaml`` under ``root``.

    Raises:
        RBRError: naming the file and key at fault.
    """
    return [_job(root, ablation) for ablation in read_ablations(root).values()]


def _graph_run(context: dg.OpExecutionContext) -> str:
    run: Any = context.run
    return run.tags.get(GRAPH_RUN_TAG) or run.root_run_id or run.run_id


def _arm(root: Path, ablation: Ablation, arm: str) -> dg.OpDefinition:
    @dg.op(
        name=f"{ablation.name}_{slug(arm)}",  # an op's name is its repository's
        description=f"Arm '{arm}': {ablation.arms[arm].settings or 'nothing changed'}.",
        out=dg.Out(dg.Nothing),
    )
    def run(context: dg.OpExecutionContext) -> None:
        try:
            run_arm(root, ablation, arm, _graph_run(context), context.log.info)
        except RBRError as error:
            raise dg.Failure(str(error), allow_retries=False) from error

    return run


def _job(root: Path, ablation: Ablation) -> dg.JobDefinition:
    @dg.op(
        name=f"compare_{ablation.name}",
        ins={"arms": dg.In(dg.Nothing)},
        description="The arms side by side, and the paper's.",
    )
    def compare(context: dg.OpExecutionContext) -> dg.Output[str]:
        folder, _ = conclude(root, ablation, _graph_run(context), context.log.info)
        metadata = {
            "table": dg.MetadataValue.md((folder / "ablation.md").read_text(encoding="utf-8")),
            "plot": dg.MetadataValue.md(image((folder / "ablation.png").read_bytes(), "arms")),
        }
        return dg.Output(str(folder), metadata=metadata)

    @dg.job(
        name=job_name(ablation.name),
        description=f"{ablation.title}. {ablation.question}",
        tags={"rbr/ablation": ablation.name},
        executor_def=dg.in_process_executor,
    )
    def job() -> None:
        compare([_arm(root, ablation, arm)() for arm in ablation.arms])

    return job
