"""``python -m orchestration.pages --port PORT``: serve the pages of the current folder on loopback."""

from __future__ import annotations

import argparse
from pathlib import Path

import uvicorn

from orchestration.links import HOST
from orchestration.pages.app import create_app

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m orchestration.pages", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvicorn.run(
        create_app(Path.cwd()), host=HOST, port=parser.parse_args().port, log_level="warning"
    )
