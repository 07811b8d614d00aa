"""The Dagster job of ablations: its configuration names the one to run."""

from pathlib import Path
from typing import Any

import dagster as dg

from orchestration.ablation.run import conclude, run_arm
from orchestration.ablation.spec import read_ablation
from orchestration.dagster_assets import GRAPH_RUN_TAG
from orchestration.metadata import image
from rbr.errors import RBRError

JOB, OP = "ablation", "run_ablation"


def ablation_job(root: Path) -> dg.JobDefinition:
    """The job over ``ablations/*.yaml`` under ``root``: every arm, then the comparison."""

    @dg.op(
        name=OP,
        config_schema={"name": dg.Field(str, description="A file of ablations/, without .yaml")},
        description="Makes every arm, one after another, and compares them; a stopped one resumes.",
    )
    def run_ablation(context: dg.OpExecutionContext) -> dg.Output[str]:
        run: Any = context.run
        graph_run = run.tags.get(GRAPH_RUN_TAG) or run.root_run_id or run.run_id
        try:
            ablation = read_ablation(root, context.op_config["name"])
            for arm in ablation.arms:
                run_arm(root, ablation, arm, graph_run, context.log.info)
            folder, _ = conclude(root, ablation, graph_run, context.log.info)
        except RBRError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        metadata = {
            "table": dg.MetadataValue.md((folder / "ablation.md").read_text(encoding="utf-8")),
            "plot": dg.MetadataValue.md(image((folder / "ablation.png").read_bytes(), "arms")),
        }
        return dg.Output(str(folder), metadata=metadata)

    @dg.job(
        name=JOB,
        description="What a change of settings does: arms side by side, and the paper's.",
        executor_def=dg.in_process_executor,
    )
    def job() -> None:
        run_ablation()

    return job
