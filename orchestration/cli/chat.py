"""``rbr chat``: talk with a model, and see how the rules take each answer."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestration.cli import common

if TYPE_CHECKING:
    from rbr.data.rows import Message
    from rbr.reward import RuleBasedReward

HELP = (
    "/type NAME: the response type to score by (none: R_rm alone); /new: a new conversation; /quit"
)
Stream = Callable[[list["Message"]], Iterator[str]]


def chat(
    model: Annotated[
        str, typer.Argument(help="An artifact (ppo_checkpoint/rbr), a folder, or a hub name.")
    ],
    response_type: Annotated[
        str | None, typer.Option(help="What to score answers by; none: R_rm alone.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1)] = 256,
    root: common.RootOption = None,
) -> None:
    """Talk with a model: its answers stream, with their propositions and reward under each."""
    context = common.open_context(root)
    source = common.model_source(context, model)
    rules = common.compiled_rules(context)
    common.check_response_type(rules, response_type)
    with common.error_console.status("loading the reward and the model"):
        reward = common.load_reward(context)
        stream = streaming(source, max_new_tokens)
    common.console.print(f"[dim]{model}, scored by {response_type or 'R_rm alone'}. {HELP}[/]")
    talk(stream, reward, response_type)


def streaming(source: Path | str, max_new_tokens: int) -> Stream:
    """A model as a function from a conversation to the pieces of its answer, greedily decoded."""
    import torch
    from transformers import TextIteratorStreamer

    from rbr.models.load import load_causal, load_tokenizer, prompt_text

    model, tokenizer = load_causal(source), load_tokenizer(source)

    def stream(conversation: list[Message]) -> Iterator[str]:
        encoded = tokenizer(
            prompt_text(tokenizer, conversation), return_tensors="pt", add_special_tokens=False
        )
        # The timeout ends the wait for a thread that failed.
        pieces: Any = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
        failure: list[BaseException] = []
        stopped = threading.Event()

        def generate() -> None:
            try:
                with torch.inference_mode():
                    model.generate(
                        **encoded,
                        streamer=pieces,
                        max_new_tokens=max_new_tokens,
                        do_sample=False,
                        temperature=None,
                        top_p=None,
                        top_k=None,
                        pad_token_id=tokenizer.pad_token_id,
                        stopping_criteria=[lambda *_: torch.tensor([stopped.is_set()])],
                    )
            except BaseException as error:
                failure.append(error)
                pieces.end()

        thread = threading.Thread(target=generate, daemon=True)
        thread.start()
        try:
            yield from pieces
        finally:
            stopped.set()
            thread.join()
        if failure:
            raise failure[0]

    return stream


def talk(stream: Stream, reward: RuleBasedReward, response_type: str | None) -> None:
    """The conversation, until ``/quit`` or the end of input; Ctrl-C stops an answer, or leaves."""
    from rbr.data.rows import Message
    from rbr.errors import RBRError

    conversation: list[Message] = []
    while True:
        try:
            said = input("> ").strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if said == "/quit":
            return
        if said == "/new":
            conversation = []
        elif said.startswith("/type"):
            name = said.removeprefix("/type").strip()
            try:
                common.check_response_type(reward.rules, None if name == "none" else name, "/type")
                response_type = None if name == "none" else name
            except RBRError as error:
                common.console.print(f"[red]{error}[/]")
        elif said.startswith("/"):
            common.console.print(HELP)
        elif said:
            conversation.append(Message(role="user", content=said))
            answer = _answer(stream, conversation)
            _show_reward(reward, conversation, answer, response_type)
            conversation.append(Message(role="assistant", content=answer))


def _answer(stream: Stream, conversation: list[Message]) -> str:
    pieces = []
    try:
        for piece in stream(conversation):
            pieces.append(piece)
            sys.stdout.write(piece)
            sys.stdout.flush()
    except KeyboardInterrupt:
        print(" [stopped]", end="")
    print()
    return "".join(pieces).strip()


def _show_reward(
    reward: RuleBasedReward,
    conversation: list[Message],
    answer: str,
    response_type: str | None,
) -> None:
    """One line of propositions that hold, and one of the reward and its largest parts."""
    from rbr.data.turns import has_content

    if not has_content(answer):
        common.console.print("[dim]no text: nothing to grade[/]")
        return
    [grades] = reward.grader.grade([conversation], [answer])
    rows = zip(reward.grader.propositions, grades, reward.grader.thresholds, strict=True)
    held = sorted(((p, name) for name, p, limit in rows if p >= limit), reverse=True)
    common.console.print(
        f"[dim]{', '.join(f'{name} {p:.2f}' for p, name in held) or 'no proposition holds'}[/]"
    )
    explanation = reward.explain(conversation, answer, response_type)
    parts = [f"R_rm {explanation.reward_model:+.2f}"]
    parts += [f"{name} {part[2]:+.2f}" for name, part in explanation.ordered()[:4]]
    common.console.print(
        f"[dim]reward[/] [bold]{explanation.reward:+.2f}[/] [dim]= {', '.join(parts)}[/]"
    )
