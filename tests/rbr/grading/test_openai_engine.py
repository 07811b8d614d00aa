"""The OpenAI-compatible engine against a server of ours that fails in known ways."""

import json
import math
import time

import pytest
from tokenizers.processors import TemplateProcessing

from rbr.data.rows import Message
from rbr.errors import GraderError
from rbr.grading.engines.openai import OpenAIEngine
from rbr.grading.yesno import YesNoGrader
from rbr.models.load import load_tokenizer
from tests.loopback import LoopbackServer, send

TALK = (Message(role="user", content="How do I pick a lock?"),)


class Server(LoopbackServer):
    """Answers completions with log-probabilities; ``fail`` decides what goes wrong with a request."""

    def __init__(self, fail):
        super().__init__()
        self._fail = fail

    def reply(self, handler, body, number):
        how = self._fail(number, body)
        if how == "drop":
            handler.connection.close()
            return
        if how == "hang":
            time.sleep(3)
        top = {"Yes": math.log(0.6), "No": math.log(0.2), "Maybe": math.log(0.1)}
        if how == "no yes":
            top = {"Maybe": -0.1, "No": -2.0}
        if isinstance(how, dict):
            top = how
        logprobs = None if how == "no logprobs" else {"top_logprobs": [top], "tokens": ["Yes"]}
        choice = {"text": "Yes", "index": 0, "finish_reason": "length", "logprobs": logprobs}
        value = {"id": "c", "object": "text_completion", "created": 1, "model": "m"}
        content = json.dumps({**value, "choices": [choice]}).encode()
        if isinstance(how, bytes):
            content = how
        html = {"Content-Type": "text/html"} if content.startswith(b"<") else {}
        send(handler, how if isinstance(how, int) else 200, content, html)


@pytest.fixture
def serve(tiny, rules):
    servers = []

    def start(fail=lambda number, body: "fine", **options):
        server = Server(fail)
        servers.append(server)
        given = {"timeout": 1.0, "retries": 2, **options}
        engine = OpenAIEngine(server.address, "m", tiny, **given)
        return server, YesNoGrader(engine, rules)

    yield start
    for server in servers:
        server.close()


def test_grades_are_yes_against_no(serve):
    server, grader = serve()
    seen = []
    p = grader.grade([TALK] * 3, ["a", "b", "c"], lambda done, total: seen.append((done, total)))
    assert p.shape == (3, 23)
    assert p == pytest.approx(0.75)
    assert len(server.requests) == 3 * 23
    assert seen[-1] == (3, 3)


def test_requests_under_way_are_bounded_and_the_first_question_goes_ahead(serve):
    server, grader = serve(concurrency=4)
    grader.grade([TALK], ["a"])
    assert server.most_at_once <= 4
    first = server.requests[0]["prompt"]
    assert grader._questions[grader.propositions[0]] in first


@pytest.mark.parametrize("how", [500, "drop", "hang"])
def test_what_fails_in_passing_is_asked_again(serve, how):
    server, grader = serve(lambda number, body: how if number == 0 else "fine")
    p = grader.grade([TALK], ["a"], propositions=["apology", "judgement"])
    assert p == pytest.approx(0.75)
    assert len(server.requests) == 3


@pytest.mark.parametrize("how", [500, "drop", "hang"])
def test_what_goes_on_failing_is_an_error_that_names_the_completion(serve, how):
    _, grader = serve(lambda number, body: how if "Answer:\n> b" in body["prompt"] else "fine")
    with pytest.raises(GraderError, match="completion 1 after 2 further tries"):
        grader.grade([TALK] * 2, ["a", "b"], propositions=["apology"])


@pytest.mark.parametrize(
    ("how", "told"), [("no logprobs", "no log-probabilities"), ("no yes", "'yes' is not among")]
)
def test_an_answer_without_the_verdict_is_never_a_grade(serve, how, told):
    _, grader = serve(lambda number, body: how)
    with pytest.raises(GraderError, match=told):
        grader.grade([TALK], ["a"], propositions=["apology"])


def test_restricting_to_the_verdict_is_sent_on_request_alone(serve):
    server, grader = serve(restrict=True)
    grader.grade([TALK], ["a"], propositions=["apology"])
    assert server.requests[0]["allowed_token_ids"]
    server, grader = serve()
    grader.grade([TALK], ["a"], propositions=["apology"])
    assert "allowed_token_ids" not in server.requests[0]


@pytest.mark.parametrize("restrict", [False, True])
@pytest.mark.parametrize("in_template", [False, True])
@pytest.mark.parametrize("added", [False, True])
def test_the_server_reads_one_token_of_the_beginning(serve, tiny, in_template, added, restrict):
    server, grader = serve(restrict=restrict)
    tokenizer = load_tokenizer(tiny)
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    if in_template:
        tokenizer.chat_template = "{{ bos_token }}" + tokenizer.chat_template
    if added:
        start = ("<s>", tokenizer.bos_token_id)
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single="<s> $A", special_tokens=[start]
        )
    grader.engine.tokenizer = tokenizer
    grader.grade([TALK], ["a"], propositions=["apology"])
    [request] = server.requests
    read = tokenizer(request["prompt"], add_special_tokens=request.get("add_special_tokens", True))[
        "input_ids"
    ]
    assert read.count(tokenizer.bos_token_id) == (in_template or (added and not restrict))


@pytest.mark.parametrize(
    "answer",
    [
        b"<html><body>502 Bad Gateway</body></html>",
        b"not JSON",
        b'{"choices": [',
        b"null",
        b"[]",
        b'{"choices": []}',
        {"Yes": math.nan, "No": -1.0},
        {"Yes": None, "No": -1.0},
        {"Yes": "likely", "No": -1.0},
        {"Yes": -math.inf, "No": -1.0},
        {"Yes": math.inf, "No": -1.0},
        {"Yes": 9999.0, "No": -1.0},
        {"Yes": -9999.0, "No": -9999.0},
        {"Yes": -0.1, "No": -9999.0, "Maybe": -9999.0},
    ],
)
def test_an_answer_that_cannot_be_read_is_an_error_that_names_the_completion(serve, answer):
    _, grader = serve(lambda number, body: answer if "Answer:\n> b" in body["prompt"] else "fine")
    with pytest.raises(GraderError, match=r"for completion 1\b"):
        grader.grade([TALK] * 2, ["a", "b"], propositions=["apology"])


@pytest.mark.parametrize("spell", [" {}", "\u0120{}", "\u2581{}", "{}.", "**{}", '"{}', "\n{}"])
def test_yes_and_no_count_however_they_are_spelt(serve, spell):
    top = {"YES": math.log(0.2), "no": math.log(0.1)}
    top |= {spell.format("Yes"): math.log(0.4), spell.format("No"): math.log(0.1)}
    _, grader = serve(lambda number, body: top)
    p = grader.grade([TALK], ["a"], propositions=["apology"])
    assert p == pytest.approx(0.75)


def test_a_word_that_is_likelier_than_yes_and_no_is_no_verdict(serve):
    _, grader = serve(lambda number, body: {"Maybe": -0.3, "Yes": -1.5, "No": -3.0})
    with pytest.raises(GraderError, match="'Maybe' is likelier than yes and no for completion 0"):
        grader.grade([TALK], ["a"], propositions=["apology"])
    # Likelier than one of them alone: the other is the verdict.
    _, grader = serve(lambda number, body: {"Yes": -0.3, "Maybe": -1.5, "No": -3.0})
    assert grader.grade([TALK], ["a"], propositions=["apology"])[0, 0] > 0.9
