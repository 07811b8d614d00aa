"""The application: three ways to ask for rewards, and the service's health, over one worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from fastapi import FastAPI, Request, Response, Security
from fastapi.security import HTTPBearer

from rbr.rules.models import ResponseType
from rbr.serve.errors import ServeError, add_handlers, declared
from rbr.serve.formats import (
    AnyItem,
    Contribution,
    ExplainResponse,
    Health,
    ItemReward,
    OpenRLHFRequest,
    OpenRLHFResponse,
    Queue,
    RewardRequest,
    RewardResponse,
)
from rbr.serve.jobs import Item, Job, Reward
from rbr.serve.middleware import RequestGuard
from rbr.serve.openrlhf import items_of
from rbr.serve.settings import ServeSettings
from rbr.serve.worker import Worker


def create_app(reward: Reward, settings: ServeSettings | None = None) -> FastAPI:
    """The service of a reward.

    Args:
        reward: asked from one thread only, never from the event loop's.
        settings: limits and token; defaults without a token where None.

    Returns:
        An application whose lifespan starts and stops the worker, kept as ``app.state.worker``.
    """
    settings = settings or ServeSettings()
    worker = Worker(reward, settings)
    # Hashing all rules takes milliseconds; they do not change while they are served.
    digest = reward.rules.digest
    kinds = cast(list[ResponseType], list(reward.rules.response_types))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        worker.start()
        yield
        await asyncio.to_thread(worker.stop)

    # No /docs page: it would load scripts from outside.
    app = FastAPI(
        title="Rule Based Rewards",
        summary="Rewards of completions: R_rm + sum of w_i phi_i.",
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.worker = worker
    app.add_middleware(RequestGuard, settings=settings)
    add_handlers(app)
    errors = declared(413, 422, 429, 503)
    guard: dict[str, Any] = {}
    if settings.token is not None:
        errors |= declared(401)
        # The middleware has checked the token; this one tells the published schema.
        guard["dependencies"] = [Security(HTTPBearer(auto_error=False))]

    @app.post("/reward", responses=errors, **guard)
    async def reward_items(body: RewardRequest, request: Request) -> RewardResponse:
        """Rewards of completions, with their parts."""
        job = Job([_work(item) for item in body.items])
        scores = await _finished(worker, job, request)
        return RewardResponse(
            rewards=[
                ItemReward(reward_model=s.reward_model, rule_based=s.rule_based, reward=s.reward)
                for s in scores
            ]
        )

    @app.post("/explain", responses=errors, **guard)
    async def explain(body: AnyItem, request: Request) -> ExplainResponse:
        """The reward of one completion, split into R_rm and each feature's contribution."""
        told = await _finished(worker, Job([_work(body)], explain=True), request)
        return ExplainResponse(
            response_type=told.response_type,
            reward_model=told.reward_model,
            contributions={
                name: Contribution(value=value, weight=weight, contribution=part)
                for name, (value, weight, part) in told.contributions.items()
            },
            reward=told.reward,
        )

    @app.post("/get_reward", responses=errors, **guard)
    async def get_reward(body: OpenRLHFRequest, request: Request) -> OpenRLHFResponse:
        """Rewards in the format of OpenRLHF's remote reward models."""
        scores = await _finished(worker, Job(items_of(body)), request)
        rewards = [s.reward for s in scores]
        return OpenRLHFResponse(
            rewards=rewards,
            scores=rewards,
            extra_logs={
                "reward_model": [s.reward_model for s in scores],
                "rule_based": [s.rule_based for s in scores],
            },
        )

    @app.get("/healthz", responses={503: {"model": Health, "description": "Not taking requests"}})
    async def healthz(response: Response) -> Health:
        """Whether requests are taken, by which rules, and how many wait. Needs no token."""
        waiting, scoring, seconds = worker.depth()
        if not worker.ready:
            response.status_code = 503
        return Health(
            ready=worker.ready,
            rules=digest,
            response_types=kinds,
            queue=Queue(
                waiting=waiting,
                limit=settings.max_waiting,
                scoring=scoring,
                scoring_seconds=seconds,
            ),
        )

    return app


def _work(item: AnyItem) -> Item:
    return Item(item.talk(), item.completion, item.response_type)


async def _finished(worker: Worker, job: Job, request: Request) -> Any:
    """The job's outcome; a client that leaves takes its waiting job along.

    Raises:
        ServeError: as the worker gives it.
    """
    future = asyncio.wrap_future(worker.submit(job))
    gone = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({future, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not future.done():
            raise ServeError(503, "client_gone", "the client left")  # nobody reads it
        return future.result()
    finally:
        # Out of the queue if it waits still; in a batch already, it is scored and its outcome dropped.
        future.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
