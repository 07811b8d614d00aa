"""The application; it reads and changes nothing."""

from __future__ import annotations

import io
import json
import os
import re
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Response
from fastapi.responses import FileResponse, HTMLResponse
from jinja2 import Environment, StrictUndefined
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.staticfiles import StaticFiles

from assets import graph_of
from orchestration.gate_runs import DOCS
from orchestration.lineage import made_by
from orchestration.lineage.experiment import view_path
from orchestration.lineage.versions import Versions
from orchestration.links import DAGSTER, HOST, MLFLOW
from orchestration.pages import rules as shown
from orchestration.watch import fingerprint
from pipeline.context import Context
from pipeline.profile import read_settings
from rbr.errors import RBRError, RuleError
from rbr.rules.rules import Rules, load_with_errors

SORTS = ("name", "accuracy", "uses")
# Completions are a model's: nothing that stands in one is run.
POLICY = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:"}


def create_app(root: Path) -> FastAPI:
    """The pages over a project's root."""
    app = FastAPI(openapi_url=None)
    # A page of the web must not read what this machine alone is shown.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])

    @app.get("/")
    def rule_page(sort: str = "name") -> HTMLResponse:
        return page("rules.html", links=links(root), **rule_facts(root, sort))

    @app.get("/health")
    def health() -> str:
        return "ok"

    @app.get("/artifacts/{version}/{name}")
    def artifact_file(version: str, name: str, width: int | None = None) -> Response:
        path = cached_file(cache_folder(root), version, name)
        if path is None:
            raise HTTPException(404, f"DVC's cache here has no '{name}' of version {version}")
        if width and name.endswith(".png"):
            return Response(narrowed(path, width), media_type="image/png", headers=POLICY)
        kinds = {".html": "text/html", ".png": "image/png"}
        kind = kinds.get(Path(name).suffix, "text/plain; charset=utf-8")
        return FileResponse(path, media_type=kind, headers=POLICY)

    @app.get("/docs/{name}")
    def guide(name: str) -> HTMLResponse:
        from markdown_it import MarkdownIt

        path = root / "docs" / f"{name.removesuffix('.md')}.md"
        if not re.fullmatch(r"[a-z_]+(\.md)?", name) or not path.is_file():
            raise HTTPException(404, f"there is no guide '{name}'")
        text = (
            MarkdownIt("commonmark", {"html": False})
            .enable("table")
            .render(path.read_text("utf-8"))
        )
        return page("guide.html", title=name, text=text)

    app.mount(
        "/data-docs",
        StaticFiles(directory=root / DOCS, html=True, check_dir=False),
        name="data docs",
    )
    return app


def links(root: Path) -> dict[str, str]:
    """The other servers of ``make ui``; MLflow opens with the columns that compare runs."""
    found = {"Dagster": os.environ.get(DAGSTER), "MLflow": os.environ.get(MLFLOW)}
    experiment = made_by.experiment(root)
    if found["MLflow"] and experiment:
        found["MLflow"] += f"/{view_path(experiment)}"
    return {title: address for title, address in found.items() if address}


def page(template: str, **values: Any) -> HTMLResponse:
    """Render a template of this package; all values are escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    text = resources.files("orchestration.pages").joinpath(template).read_text("utf-8")
    return HTMLResponse(environment.from_string(text).render(values), headers=POLICY)


def rule_facts(root: Path, sort: str) -> dict[str, Any]:
    """The values of the rule page."""
    rules, errors = written_rules(root / "rules", fingerprint(root / "rules"))
    if rules is None:
        return {"rules": None, "errors": errors}
    problems: list[RBRError] = []
    found: dict[str, Any] = {"weights": {}, "accuracy": {}, "worst": {}, "stale": []}
    try:
        settings = read_settings(root)[1]
        artifacts = graph_of(settings)
        context = Context(root, settings, artifacts["model_release"], artifacts)
        found["weights"] = shown.fitted_weights(context)
        found["accuracy"] = shown.accuracy(context)
        found["worst"] = shown.worst_grades(context, rules)
        found["stale"] = shown.stale(context, rules)
    except RBRError as error:  # something half made is no reason to show no rules
        problems.append(error)
    rows = shown.proposition_rows(rules, found["weights"], found["accuracy"], found["worst"])
    orders: dict[str, Any] = {
        "accuracy": lambda row: row.accuracy["accuracy"] if row.accuracy else 2.0,
        "uses": lambda row: -len(row.uses),
    }
    return {
        "rules": rules,
        "errors": problems,
        "rows": sorted(rows, key=orders.get(sort, lambda row: row.name)),
        "weights": found["weights"],
        "mean": found["accuracy"].get("mean"),
        "stale": found["stale"],
        "sorts": SORTS,
        "docs": (root / DOCS / "index.html").is_file(),
        "report": shown.locked_version(root, "model_release"),
    }


@lru_cache(maxsize=2)
def written_rules(folder: Path, state: str) -> tuple[Rules | None, list[RuleError]]:
    """The rules and what is wrong with them, read once for each state of their files."""
    return load_with_errors(folder)


@cache
def cache_folder(root: Path) -> Path:
    """Where DVC keeps files by their hash."""
    return Versions(root).cached()


def narrowed(path: Path, width: int) -> bytes:
    """A PNG of at most a width, in pixels."""
    from PIL import Image

    target = io.BytesIO()
    with Image.open(path) as image:
        image.thumbnail((min(max(width, 16), 4096), 4096))
        image.save(target, "PNG")
    return target.getvalue()


def cached_file(cache: Path, version: str, name: str) -> Path | None:
    """A file of a folder's data version in DVC's cache; None where it has none."""
    if not re.fullmatch(r"[0-9a-f]{32}\.dir", version):
        return None
    listing = cache / version[:2] / version[2:]
    if not listing.is_file():
        return None
    for entry in json.loads(listing.read_text()):
        if entry["relpath"] == name:
            path = cache / entry["md5"][:2] / entry["md5"][2:]
            return path if path.is_file() else None
    return None
