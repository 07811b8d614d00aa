"""``python -m orchestration.pages --port PORT``: serve the pages of the current folder on loopback."""

from __future__ import annotations

import argparse

import uvicorn

from orchestration.links import HOST
from orchestration.pages.app import served

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m orchestration.pages", description=__doc__)
    parser.add_argument("--port", type=int, default=3001)
    uvicorn.run(served(), host=HOST, port=parser.parse_args().port, log_level="warning")
