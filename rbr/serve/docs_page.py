"""The page ``/docs``: the published schema as plain HTML, since Swagger's page loads scripts from outside."""

from __future__ import annotations

import json
from typing import Any

from jinja2 import Environment, StrictUndefined

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ schema.info.title }}</title>
<style>body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
pre{background:#f5f5f5;padding:.7rem;overflow:auto}code{font-size:.9em}td{padding:.1rem .8rem .1rem 0}</style>
</head><body>
<h1>{{ schema.info.title }}</h1>
<p>{{ schema.info.summary }} The whole schema: <a href="openapi.json">openapi.json</a>.</p>
{% for path, methods in schema.paths.items() %}{% for method, about in methods.items() %}
<h2 id="{{ about.operationId }}"><code>{{ method | upper }} {{ path }}</code></h2>
<p>{{ about.description }}</p>
{% if "requestBody" in about %}<p>Body: {{ link(about.requestBody) }}</p>{% endif %}
<table>{% for status, answer in about.responses.items() %}
<tr><td><code>{{ status }}</code></td><td>{{ answer.description }}</td><td>{{ link(answer) }}</td></tr>
{% endfor %}</table>
{% endfor %}{% endfor %}
<h1>Bodies</h1>
{% for name, model in schema.components.schemas.items() %}
<h2 id="{{ name }}"><code>{{ name }}</code></h2><p>{{ model.description }}</p>
<pre>{{ pretty(model.properties) }}</pre>
{% endfor %}
</body></html>
"""


def docs_page(schema: dict[str, Any]) -> str:
    """The page of an OpenAPI schema."""
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.globals.update(pretty=lambda value: json.dumps(value, indent=1), link=_link)
    return environment.from_string(PAGE).render(schema=schema)


def _link(part: dict[str, Any]) -> Any:
    """A link to the model of a body, where it has one."""
    from markupsafe import Markup, escape

    reference = part.get("content", {}).get("application/json", {}).get("schema", {}).get("$ref")
    if reference is None:
        return ""
    name = escape(reference.rpartition("/")[2])
    return Markup(f'<a href="#{name}"><code>{name}</code></a>')
