"""The embedded models by name, fetched once."""

from pathlib import Path

from rbr.models import EMBEDDED, fetch

ROOT = Path(__file__).resolve().parent.parent


def model_folder(name: str) -> Path:
    """The folder of an embedded model; any other name is a folder itself."""
    if name not in EMBEDDED:
        return Path(name)
    folder = ROOT / ".cache" / "models" / name
    if not folder.exists():
        fetch(name, folder)
    return folder
