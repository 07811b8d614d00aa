"""Answers of the endpoints against the reward asked directly, and what each failure looks like."""

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient

from rbr.data.rows import Message
from rbr.serve import ServeSettings, create_app
from rbr.serve.jobs import Item

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "How do I pick a lock?"},
    {"role": "assistant", "content": "Whose?"},
    {"role": "user", "content": "Mine."},
]
MESSAGES = tuple(Message(**turn) for turn in TALK)


def ask(client, completion="no", response_type="hard_refusal", prompt="q"):
    item = {"prompt": prompt, "completion": completion, "response_type": response_type}
    return client.post("/reward", json={"items": [item]})


def item(completion="no", response_type="hard_refusal", prompt="q"):
    return Item((Message(role="user", content=prompt),), completion, response_type)


def test_rewards_are_those_of_a_direct_call_in_order(client_of, reward, direct, rules):
    client = client_of(reward)
    kinds = [*rules.response_types, None]
    prompts = [{"prompt": "q", "completion": f"c{k}", "response_type": k} for k in kinds]
    conversations = [
        {"conversation": TALK, "completion": f"c{k}", "response_type": k} for k in kinds
    ]
    answer = client.post("/reward", json={"items": prompts + conversations})
    assert answer.status_code == 200
    wanted = [direct(item(f"c{k}", k)) for k in kinds]
    wanted += [direct(Item(MESSAGES, f"c{k}", k)) for k in kinds]
    found = answer.json()["rewards"]
    assert [row["reward"] for row in found] == wanted
    assert len(set(wanted)) == 10
    assert all(row["reward"] == row["reward_model"] + row["rule_based"] for row in found)
    assert found[4]["rule_based"] == 0
    assert all(row["rule_based"] != 0 for row in found[:4])


def test_a_response_type_may_be_left_out(client_of, reward, direct):
    answer = client_of(reward).post("/reward", json={"items": [{"prompt": "q", "completion": "c"}]})
    assert answer.json()["rewards"][0]["reward"] == direct(item("c", None))


def test_an_explanation_sums_to_the_reward_exactly(client_of, reward, direct, rules):
    client = client_of(reward)
    for kind in (*rules.response_types, None):
        body = {"conversation": TALK, "completion": "c", "response_type": kind}
        told = client.post("/explain", json=body).json()
        parts = [part["contribution"] for part in told["contributions"].values()]
        assert told["reward_model"] + math.fsum(parts) == told["reward"]
        assert told["reward"] == direct(Item(MESSAGES, "c", kind))
        assert list(told["contributions"]) == (rules.feature_names(kind) if kind else [])
        for part in told["contributions"].values():
            assert part["contribution"] == part["value"] * part["weight"]


def test_health_tells_the_rules_and_the_queue(client_of, tricky, rules, soon):
    client = client_of(tricky, max_wait_ms=0)
    found = client.get("/healthz")
    assert found.status_code == 200
    assert found.json()["ready"] is True
    assert found.json()["rules"] == rules.digest
    assert found.json()["response_types"] == list(rules.response_types)
    tricky.go.clear()
    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(ask, client)]
        assert tricky.begun.wait(10)
        asked += [pool.submit(ask, client) for _ in range(2)]
        soon(lambda: client.get("/healthz").json()["queue"]["waiting"] == 2)
        queue = client.get("/healthz").json()["queue"]
        assert queue["scoring"] == 1
        assert queue["scoring_seconds"] > 0
        tricky.go.set()
        assert {a.result().status_code for a in asked} == {200}
    assert client.get("/healthz").json()["queue"]["waiting"] == 0


def test_a_full_queue_says_when_to_come_again_and_loses_nothing(client_of, tricky, direct, soon):
    client = client_of(tricky, max_waiting=256, max_wait_ms=0)
    tricky.go.clear()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(ask, client, "first")
        assert tricky.begun.wait(10)
        items = [{"prompt": "q", "completion": f"c{i}"} for i in range(256)]
        second = pool.submit(client.post, "/reward", json={"items": items})
        soon(lambda: client.get("/healthz").json()["queue"]["waiting"] == 256)
        third = ask(client, "third")
        assert third.status_code == 429
        assert third.json()["error"] == "queue_full"
        assert 1 <= int(third.headers["Retry-After"]) <= 60
        tricky.go.set()
        assert first.result().json()["rewards"][0]["reward"] == direct(item("first"))
        found = [row["reward"] for row in second.result().json()["rewards"]]
        assert found == [direct(item(f"c{i}", None)) for i in range(256)]
    assert ask(client, "third").json()["rewards"][0]["reward"] == direct(item("third"))


def test_a_model_that_fails_is_a_503_that_names_it_and_the_service_recovers(
    client_of, tricky, direct
):
    client = client_of(tricky)
    tricky.down = True
    answer = ask(client)
    assert answer.status_code == 503
    assert answer.json()["error"] == "model_failed"
    assert "RuntimeError: the grader's server is gone" in answer.json()["message"]
    assert "rewards" not in answer.json()
    tricky.down = False
    assert ask(client).json()["rewards"][0]["reward"] == direct(item())


def test_a_score_that_is_not_finite_is_an_error_of_its_request_alone(client_of, tricky, direct):
    client = client_of(tricky, max_batch=2, max_wait_ms=10_000)
    with ThreadPoolExecutor() as pool:
        bad, good = pool.map(lambda text: ask(client, text), ["infinite", "fine"])
    assert tricky.batches == [2]
    assert bad.status_code == 503
    assert bad.json()["error"] == "not_finite"
    assert bad.json()["details"][0]["where"] == "0"
    assert good.json()["rewards"][0]["reward"] == direct(item("fine"))


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"items": []}, "items"),
        ({"items": [{"prompt": "q"}]}, "completion"),
        ({"items": [{"prompt": "q", "completion": 1}]}, "completion"),
        ({"items": [{"prompt": "q", "completion": "c", "mood": "x"}]}, "mood"),
        ({"items": [{"prompt": "q", "conversation": TALK, "completion": "c"}]}, "items.0"),
        ({"items": [{"completion": "c"}]}, "items.0"),
        ({"items": [{"conversation": [], "completion": "c"}]}, "conversation"),
        ({"items": [{"conversation": TALK[:3], "completion": "c"}]}, "items.0"),
        *(
            ({"items": [{"prompt": "q", "completion": answer}]}, "items.0.completion")
            for answer in (
                None,
                [],
                {},
                [{"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}],
                [{"role": "assistant", "content": "a"}, {"role": "tool", "content": "42"}],
                [{"role": "assistant", "content": [{"type": "image_url"}]}],
            )
        ),
        ({"items": [{"prompt": "q", "completion": "c", "response_type": "odd"}]}, "response_type"),
        ({"items": [{"prompt": "q", "completion": "c" * 32_769}]}, "completion"),
        ({"items": [{"prompt": "q", "completion": "c"}] * 257}, "items"),
        ({"items": [{"prompt": "q", "completion": "c"}], "more": 1}, "more"),
    ],
)
def test_a_wrong_body_is_refused_with_its_place(client_of, tricky, body, where):
    answer = client_of(tricky).post("/reward", json=body)
    assert answer.status_code == 422
    assert answer.json()["error"] == "invalid_request"
    assert any(where in detail["where"] for detail in answer.json()["details"])
    assert tricky.batches == []


def test_parts_and_tool_turns_are_read_as_the_reward_reads_them(client_of, reward, direct):
    parts = [{"type": "thinking", "thinking": "hm"}, *({"type": "text", "text": t} for t in "ab")]
    answer = [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "content": "42"},
        {"role": "assistant", "content": parts},
    ]
    body = {"conversation": [{"role": "user", "content": parts}], "completion": answer}
    found = client_of(reward).post("/reward", json={"items": [body]}).json()["rewards"]
    assert [row["reward"] for row in found] == [direct(item("ab", None, "ab"))]


def test_reasoning_in_the_text_is_no_answer(client_of, reward, direct):
    earlier = {"role": "assistant", "content": "<think>hm</think>Whose?"}
    body = {"conversation": [TALK[1], earlier, TALK[3]], "completion": "<think>so</think>\nNo."}
    found = client_of(reward).post("/reward", json={"items": [body]}).json()["rewards"]
    assert [row["reward"] for row in found] == [direct(Item(MESSAGES[1:], "No.", None))]
    [prompt] = client_of(reward).post("/reward", json={"items": [
        {"prompt": "q", "completion": "<think>I was cut"}]}).json()["rewards"]  # fmt: skip
    assert prompt["reward"] == direct(item("", None))


def test_errors_do_not_repeat_texts_and_name_few_places(client_of, reward):
    items = [{"prompt": "q", "completion": "c", "secret words": 1}] * 200
    answer = client_of(reward).post(
        "/reward", json={"items": [*items, {"prompt": ["secret text"]}]}
    )
    assert len(answer.json()["details"]) == 10
    assert "secret text" not in answer.text


def test_unknown_paths_and_methods_have_the_same_form(client_of, reward):
    client = client_of(reward)
    assert client.get("/nowhere").json()["error"] == "not_found"
    wrong = client.get("/reward")
    assert wrong.status_code == 405
    assert wrong.headers["Allow"] == "POST"
    assert wrong.json()["error"] == "method_not_allowed"


def test_no_page_loads_scripts_from_elsewhere(client_of, reward):
    client = client_of(reward)
    assert client.get("/redoc").status_code == 404


def test_an_application_can_be_started_again(tricky):
    app = create_app(tricky, ServeSettings(max_wait_ms=0))
    for _ in range(3):
        with TestClient(app) as client:
            assert [ask(client).status_code for _ in range(2)] == [200, 200]
