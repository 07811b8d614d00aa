"""The published schema is what the service does: Schemathesis asks it with right and wrong bodies."""

from pathlib import Path

import hypothesis
import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import positive_data_acceptance

from rbr.rules import load_rules
from rbr.serve import ServeSettings, create_app

TOKEN = "a-token-of-the-tests"
NO_MARKUP = str.maketrans("", "", "<>[]|｜#:")
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
BOUNDED = hypothesis.settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(hypothesis.HealthCheck),
)


class Later:
    """Stands for the fixture ``reward``: Schemathesis wants its schema when tests are collected."""

    rules = load_rules(Path(__file__).resolve().parents[3] / "rules")

    def components(self, *given):
        return self.reward.components(*given)

    def explain(self, *given):
        return self.reward.explain(*given)


later = Later()
# Its wrong bodies may be megabytes long, and then the size is what they are refused for.
config = SchemathesisConfig.from_dict(
    {"checks": {"negative_data_rejection": {"expected-statuses": ["401", "405", "413", "422"]}}}
)
open_service = schemathesis.openapi.from_asgi(
    "/openapi.json", create_app(later, ServeSettings(max_wait_ms=0)), config=config
)
guarded_service = schemathesis.openapi.from_asgi(
    "/openapi.json",
    create_app(later, ServeSettings(max_wait_ms=0, token=TOKEN)),
    config=config,
    headers=HEADERS,
)


@pytest.fixture(autouse=True)
def asked(reward):
    later.reward = reward


def mend(body):
    """Make true of a right body what a schema cannot say, so that it must be accepted."""
    if "query" in body:
        n = len(body["query"])
        body["prompts"] = [f"q{p[:1000].translate(NO_MARKUP)}" for p in (body["prompts"] * n)[:n]]
        body["query"] = [p + q[:1000] for p, q in zip(body["prompts"], body["query"], strict=True)]
        if body.get("labels") is not None:
            body["labels"] = ((body["labels"] or [None]) * n)[:n]
    for item in [body, *body.get("items", [])]:
        if item.get("conversation") and item.get("prompt") is not None:
            del item["conversation"]
        if "completion" in item and item.get("prompt") is None and not item.get("conversation"):
            item["prompt"] = "q"
        if item.get("conversation"):
            item["conversation"][-1]["role"] = "user"
            for turn in item["conversation"]:
                if isinstance(turn["content"], list):
                    turn["content"] = [{"type": "text", "text": "a"}]
        if isinstance(item.get("completion"), list):
            item["completion"] = [{"role": "assistant", "content": "a"}]


@open_service.parametrize()
@BOUNDED
def test_every_answer_is_one_the_schema_promises(case):
    if case.meta.generation.mode.is_positive and isinstance(case.body, dict):
        mend(case.body)
    answer = case.call_and_validate()
    hypothesis.event(f"{case.meta.generation.mode.value}: {answer.status_code}")


@guarded_service.parametrize()
@BOUNDED
def test_with_a_token_too(case):
    # Bodies are not mended here: what a schema cannot say is refused with 422.
    case.call_and_validate(headers=HEADERS, excluded_checks=[positive_data_acceptance])


def test_all_errors_are_declared():
    for service, more in ((open_service, set()), (guarded_service, {"401"})):
        for path in ("/reward", "/explain", "/get_reward"):
            declared = set(service.raw_schema["paths"][path]["post"]["responses"])
            assert declared == {"200", "413", "422", "429", "503"} | more
        assert set(service.raw_schema["paths"]["/healthz"]["get"]["responses"]) == {"200", "503"}
    assert "security" not in open_service.raw_schema["paths"]["/reward"]["post"]
    assert guarded_service.raw_schema["paths"]["/reward"]["post"]["security"]


def test_every_field_is_described_or_speaks_for_itself():
    plain = {
        "role",
        "completion",
        "message",
        "items",
        "rewards",
        "ready",
        "waiting",
        "response_type",
    }
    plain |= {"response_types", "queue"}
    for name, model in open_service.raw_schema["components"]["schemas"].items():
        assert "description" in model, name
        for field, about in model["properties"].items():
            assert "description" in about or field in plain, f"{name}.{field}"
