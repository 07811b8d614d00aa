"""Request ids, metrics, and the page of the schema."""

import logging
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

BODY = {"items": [{"prompt": "q", "completion": "c"}]}


def samples(client):
    found = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            found[sample.name, *sorted(sample.labels.values())] = sample.value
    return found


def test_an_id_is_kept_or_made_and_stands_in_header_error_and_log(client_of, reward, caplog):
    client = client_of(reward)
    with caplog.at_level(logging.INFO, "rbr.serve"):
        kept = client.post("/reward", json=BODY, headers={"X-Request-ID": "run-7.step_3"})
        made = client.post("/reward", json=BODY)
        bad = client.post("/reward", json={"items": []}, headers={"X-Request-ID": "bad-1"})
    assert kept.headers["X-Request-ID"] == "run-7.step_3"
    assert re.fullmatch("[0-9a-f]{32}", made.headers["X-Request-ID"])
    assert bad.headers["X-Request-ID"] == bad.json()["request_id"] == "bad-1"
    logged = [
        record.getMessage() for record in caplog.records if record.name == "rbr.serve.observe"
    ]
    assert re.fullmatch(r"POST /reward 200 \d+\.\d{3}s run-7\.step_3", logged[0])
    assert re.fullmatch(r"POST /reward 422 \d+\.\d{3}s bad-1", logged[2])


@pytest.mark.parametrize("given", ["a b", "x" * 129, "a\tb", "<b>"])
def test_an_id_that_could_forge_a_log_line_is_replaced(client_of, reward, given):
    answer = client_of(reward).post("/reward", json=BODY, headers={"X-Request-ID": given})
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-ID"])


def test_a_failure_of_the_model_is_logged_with_the_ids(client_of, tricky, caplog):
    tricky.down = True
    client = client_of(tricky)
    answer = client.post("/reward", json=BODY, headers={"X-Request-ID": "req-9"})
    assert (answer.status_code, answer.json()["request_id"]) == (503, "req-9")
    assert "scoring failed (req-9)" in caplog.text


def test_metrics_count_requests_batches_and_the_queue(client_of, reward):
    client = client_of(reward)
    for _ in range(2):
        client.post("/reward", json={"items": BODY["items"] * 3})
    client.post("/reward", json={})
    client.get("/no/such/path")
    found = samples(client)
    assert found["rbr_requests_total", "/reward", "200"] == 2
    assert found["rbr_requests_total", "/reward", "422"] == 1
    assert found["rbr_requests_total", "404", "other"] == 1
    assert found["rbr_batch_completions_sum",] == 6
    assert found["rbr_batch_completions_count",] == found["rbr_batch_seconds_count",] == 2
    assert found["rbr_waiting_completions",] == 0
    assert found["rbr_ready",] == 1


def test_metrics_and_docs_need_the_token_too(client_of, reward):
    client = client_of(reward, token="secret-of-a-test")
    assert {client.get(path).status_code for path in ("/metrics", "/docs")} == {401}
    headers = {"Authorization": "Bearer secret-of-a-test"}
    assert {client.get(p, headers=headers).status_code for p in ("/metrics", "/docs")} == {200}


def test_the_page_has_every_endpoint_and_loads_nothing(client_of, reward):
    page = client_of(reward).get("/docs").text
    for path in ("POST /reward", "POST /explain", "POST /get_reward", "GET /healthz"):
        assert path in page
    assert 'id="RewardItem"' in page
    assert "<script" not in page and "src=" not in page and "http" not in page
