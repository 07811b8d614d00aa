"""``rbr export``: a model of this project as a folder that Transformers, vLLM and the hub take."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from orchestration.cli import common
from rbr.errors import ModelError, RBRError

# What a training keeps for itself.
LEFT_OUT = shutil.ignore_patterns(
    "metrics.json", "history.json", "*.png", "checkpoint-*", "optimizer*", "training_args.bin"
)


def export(
    model: Annotated[str, typer.Argument(help="An artifact (ppo_checkpoint/rbr) or a folder.")],
    folder: Annotated[Path, typer.Argument(help="A new folder, or one exported before.")],
    push_to_hub: Annotated[
        str | None, typer.Option(metavar="NAME", help="Upload it to the hub, by this name, too.")
    ] = None,
    root: common.RootOption = None,
) -> None:
    """Copy a model with its tokenizer, chat template and model card; upload it on request."""
    from rbr.files import replacing

    context = common.open_context(root)
    source = common.model_source(context, model)
    if not isinstance(source, Path):
        raise RBRError(f"'{model}' is a model of the hub: there is nothing here to export")
    if not any(source.glob("*.safetensors")):
        raise ModelError("no *.safetensors here: give a whole model", source)
    common.check_target(folder, "config.json")
    card = context.path("model_release") / "model_card.md"
    with replacing(folder) as target:
        shutil.copytree(source, target, ignore=LEFT_OUT)
        if card.is_file() and not (target / "README.md").exists():
            shutil.copy(card, target / "README.md")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {size / 1e6:.0f} MB")
    if push_to_hub:
        print(_push(folder, push_to_hub))


def _push(folder: Path, name: str) -> str:
    """Upload a folder as a model of the hub; returns its address."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    api = HfApi()
    try:
        api.create_repo(name, exist_ok=True)
        return str(api.upload_folder(repo_id=name, folder_path=folder))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise RBRError(
            f"the folder is written, the upload to '{name}' failed ({reason}): see `hf auth login`,"
            " and repeat the command"
        ) from error
