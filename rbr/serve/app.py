"""The application: three ways to ask for rewards, and the service's health, over one worker.

Annotations are evaluated here, as FastAPI reads them: the bodies of requests depend on the rules.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response, Security
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST

from rbr.models.chat_templates import chat_template
from rbr.reward.rule_based_reward import RuleBasedReward
from rbr.serve.docs_page import docs_page
from rbr.serve.errors import ServeError, add_handlers, responses
from rbr.serve.formats import (
    Contribution,
    ExplainResponse,
    Health,
    OpenRLHFResponse,
    RewardItem,
    RewardResponse,
    request_bodies,
)
from rbr.serve.jobs import Item
from rbr.serve.middleware import BearerToken, BodyLimit
from rbr.serve.observe import Metrics, Observed
from rbr.serve.openrlhf import items_of
from rbr.serve.settings import ServeSettings
from rbr.serve.worker import Worker


def create_app(reward: RuleBasedReward, settings: ServeSettings | None = None) -> FastAPI:
    """The service of a reward.

    Args:
        reward: called in one thread only, never in the event loop's.
        settings: limits and token; defaults without a token where None.

    Returns:
        An application whose lifespan runs the worker, kept as ``app.state.worker``.

    Raises:
        ModelError: if the settings' chat template cannot be read back.
    """
    settings = settings or ServeSettings()
    worker = Worker(reward, settings)
    template = chat_template(settings.chat_template)
    # Hashing all rules takes milliseconds; they do not change while they are served.
    digest = reward.rules.digest
    response_types = list(reward.rules.response_types)
    bodies: Any = request_bodies(response_types)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with worker.running():
            yield

    # FastAPI's own pages would load scripts from outside.
    app = FastAPI(
        title="Rule Based Rewards",
        summary="Rewards of completions: R_rm + sum of w_i phi_i.",
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.worker = worker
    add_handlers(app)
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    route: dict[str, Any] = {"responses": responses(413, 422, 429, 503)}
    if settings.token is not None:
        app.add_middleware(BearerToken, token=settings.token.get_secret_value())
        # The middleware checks the token; these document it in the schema.
        route["responses"] |= responses(401)
        route["dependencies"] = [Security(HTTPBearer(auto_error=False))]

    @app.post("/reward", **route)
    async def reward_items(body: bodies.reward, request: Request) -> RewardResponse:
        """Rewards of completions, with their parts."""
        return RewardResponse(rewards=await _score(worker, request, map(_item, body.items)))

    @app.post("/explain", **route)
    async def explain(body: bodies.explain, request: Request) -> ExplainResponse:
        """The reward of one completion, split into R_rm and each feature's contribution."""
        explanation = await _score(worker, request, [_item(body)], explain=True)
        return ExplainResponse(
            response_type=explanation.response_type,
            reward_model=explanation.reward_model,
            contributions={
                name: Contribution(value=value, weight=weight, contribution=contribution)
                for name, (value, weight, contribution) in explanation.contributions.items()
            },
            reward=explanation.reward,
            unread_tokens=explanation.unread_tokens,
            reasons=explanation.reasons,
        )

    @app.post("/get_reward", **route)
    async def get_reward(body: bodies.openrlhf, request: Request) -> OpenRLHFResponse:
        """Rewards in the format of OpenRLHF's remote reward models."""
        found = await _score(worker, request, items_of(body, template))
        rewards = [r.reward for r in found]
        logs = {name: [getattr(r, name) for r in found] for name in ("reward_model", "rule_based")}
        return OpenRLHFResponse(rewards=rewards, scores=rewards, extra_logs=logs)

    @app.get(
        "/healthz", responses={503: {"model": Health, "description": "Not accepting requests"}}
    )
    async def healthz(response: Response) -> Health:
        """Whether requests are accepted, by which rules, and how many wait. Needs no token."""
        if not worker.ready:
            response.status_code = 503
        return Health(
            ready=worker.ready,
            rules=digest,
            response_types=response_types,
            queue=worker.state(),
        )

    @app.get("/metrics", include_in_schema=False)
    async def show_metrics() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(docs_page(app.openapi()))

    # The last one added is the outermost: it sees what the others refuse.
    paths = {route.path for route in app.routes if isinstance(route, APIRoute)}
    metrics = Metrics(worker, frozenset(paths))
    app.add_middleware(Observed, metrics=metrics)
    return app


def _item(item: RewardItem) -> Item:
    return Item(item.turns, item.completion, item.response_type)


async def _score(
    worker: Worker, request: Request, items: Iterable[Item], explain: bool = False
) -> Any:
    """See ``Worker.score``; the work of a client that leaves is dropped.

    Raises:
        ServeError: as the worker does; 503 if the client leaves, which nobody reads.
    """
    scoring = asyncio.create_task(worker.score(list(items), explain))
    disconnect = asyncio.create_task(_disconnected(request))
    disconnect.add_done_callback(lambda _: scoring.cancel())
    try:
        return await scoring
    except asyncio.CancelledError:
        if not disconnect.done():
            raise
        raise ServeError(503, "client_gone", "the client left") from None
    finally:
        disconnect.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
