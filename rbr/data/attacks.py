"""Attack forms: frames around a prompt that try to talk a model out of its policy.

The frames are data (docs/data.md). What they are put around keeps its id, family and response type: a
prompt to be refused stays one, and so does one to be complied with.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, get_args

from pydantic import model_validator

from rbr.data.rows import Attack, Message, PolicyPrompt, Row, Slug, Text
from rbr.data.words import pieces, rejoined
from rbr.errors import DataError, Place
from rbr.files import checked_rows, placed_rows, visible
from rbr.rules.yaml import suggest

FOLDER, ANSWERS = "attack_forms", "answers.jsonl"  # beside the safety prompts
Use = Literal["train", "heldout"]
Spelling = Literal["spaced", "dotted", "reversed", "mirrored"]
# Each can be undone by a reader.
SPELLINGS: dict[str, Callable[[str], str]] = {
    "spaced": lambda text: "  ".join(" ".join(word) for word in text.split()),
    "dotted": lambda text: " ".join(".".join(word) for word in text.split()),
    "reversed": lambda text: rejoined(reversed(pieces(text)), text),
    "mirrored": lambda text: " ".join(word[::-1] for word in text.split()),
}
PLACEHOLDER = re.compile(r"\{(\w*)\}")
PLACEHOLDERS = (["request"], ["first", "second"])


class AttackTemplate(Row):
    """One wording of an attack form.

    ``form`` groups templates that attack in the same way. ``text`` becomes the last user turn: it holds
    what was asked, whole at ``{request}`` or in halves at ``{first}`` and ``{second}``, in another
    ``spelling`` if wanted. ``before``: turns that are put in front of it.
    """

    id: Slug
    form: Slug
    text: Text
    before: tuple[Message, ...] = ()
    spelling: Spelling | None = None

    @model_validator(mode="after")
    def _check(self) -> AttackTemplate:
        if sorted(PLACEHOLDER.findall(self.text)) not in PLACEHOLDERS:
            raise ValueError(
                "text must have {request} once, or {first} and {second} once each, and no other"
                " name in braces"
            )
        roles = [turn.role for turn in self.before]
        if roles != ["user", "assistant"] * (len(roles) // 2):
            raise ValueError("before must be user and assistant in turns, the assistant last")
        if any(not turn.content.strip() for turn in self.before):
            raise ValueError("before has a turn without text: write one, or drop both turns")
        return self


class AttackAnswer(Row):
    """An answer to a held-out frame, labelled by whether it refuses and whether it holds disallowed content.

    The evaluation's judge is measured on such answers: they are of another kind than gold rows. ``asked`` is
    the request without the frame.
    """

    id: Slug
    form: Slug
    response_type: str
    asked: Text
    completion: Text
    refused: bool
    disallowed: bool


def attack_answers(prompts: Path, response_types: Sequence[str]) -> list[AttackAnswer]:
    """The labelled answers beside a folder of safety prompts; none where there is no such file.

    Raises:
        DataError: naming the line that is not of the format, or whose response type or held-out form there
            is not.
    """
    path = prompts / FOLDER / ANSWERS
    rows = placed_rows(path, AttackAnswer) if path.is_file() else []
    forms = sorted({template.form for template in attack_templates(prompts)["heldout"]})
    for place, row in rows:
        for name, known in (("response_type", response_types), ("form", forms)):
            if (value := getattr(row, name)) not in known:
                raise DataError(f"{name}: no '{value}'; {suggest(value, known)}", place)
    return [row for _, row in rows]


def attack_templates(prompts: Path) -> dict[Use, list[AttackTemplate]]:
    """The templates beside a folder of safety prompts, by use; none where there is no such file.

    Raises:
        DataError: the first of ``attack_errors``.
    """
    found: dict[Use, list[AttackTemplate]] = {"train": [], "heldout": []}
    for error in attack_errors(prompts, found):
        raise error
    return found


def attack_errors(
    prompts: Path, sound: dict[Use, list[AttackTemplate]] | None = None
) -> Iterator[DataError]:
    """What is wrong with the templates beside a folder of safety prompts, by file and line.

    A row that is not of the format; an id or a text that another has; a form that is both trained on and
    held out; a file that nothing reads.

    Args:
        sound: receives the templates that are of the format.
    """
    uses: tuple[Use, ...] = get_args(Use)
    ids: dict[str, Place] = {}
    texts: dict[str, Place] = {}
    forms: dict[str, tuple[Use, Place]] = {}
    folder = prompts / FOLDER
    for path in visible(folder, "*.jsonl"):
        if path.stem not in uses and path.name != ANSWERS:
            text = f"read by nothing: name it train.jsonl, heldout.jsonl or {ANSWERS}"
            yield DataError(text, path)
    for use in uses:
        path = folder / f"{use}.jsonl"
        for place, row in checked_rows(path, AttackTemplate) if path.is_file() else ():
            if isinstance(row, DataError):
                yield row
                continue
            if sound is not None:
                sound[use].append(row)
            wording = " ".join(row.text.lower().split()) + str(row.before)
            for name, value, seen in (("id", row.id, ids), ("text", wording, texts)):
                if (former := seen.setdefault(value, place)) is not place:
                    where = f"{former.path.name}, line {former.line}"
                    yield DataError(f"the {name} of {where}, again: write another", place)
            other, former = forms.setdefault(row.form, (use, place))
            if other != use:
                where = f"{former.path.name}, line {former.line}"
                yield DataError(
                    f"form '{row.form}' is one of {where}: what is held out must be another form"
                    " than what is trained on; move the row or name its own form",
                    place,
                )


def attacked(prompt: PolicyPrompt, template: AttackTemplate) -> PolicyPrompt:
    """The prompt with its last user turn in a template's frame."""
    turns = prompt.conversation
    last = max(i for i, turn in enumerate(turns) if turn.role == "user")
    request = turns[last].content
    if template.spelling:
        request = SPELLINGS[template.spelling](request)
    first, second = _halves(request)
    parts = {"request": request, "first": first, "second": second}
    text = PLACEHOLDER.sub(lambda found: parts[found[1]], template.text)
    framed = (*template.before, Message(role="user", content=text))
    return prompt.model_copy(
        update={
            "conversation": (*turns[:last], *framed, *turns[last + 1 :]),
            "attack": Attack(form=template.form, template=template.id, plain=turns),
        }
    )


def with_attacks(
    prompts: Sequence[PolicyPrompt], templates: Sequence[AttackTemplate], share: float, seed: int
) -> list[PolicyPrompt]:
    """The prompts in their order, with a share of each response type's in frames.

    Which ones, and in which frames, depends on ids and seed alone; each template gets as many, give or
    take one a response type.
    """
    if not templates:
        return list(prompts)
    types: dict[str, list[PolicyPrompt]] = defaultdict(list)
    for prompt in prompts:
        types[prompt.response_type].append(prompt)
    frames = sorted(templates, key=lambda template: _rank(template.id, seed))
    chosen: dict[str, PolicyPrompt] = {}
    for _, own in sorted(types.items()):
        own.sort(key=lambda prompt: _rank(prompt.id, seed))
        for prompt in own[: round(share * len(own))]:
            chosen[prompt.id] = attacked(prompt, frames[len(chosen) % len(frames)])
    return [chosen.get(prompt.id, prompt) for prompt in prompts]


def heldout_attacks(
    prompts: Sequence[PolicyPrompt], templates: Sequence[AttackTemplate], count: int, seed: int
) -> list[PolicyPrompt]:
    """``count`` prompts in frames of each form, half of them to be refused, half to be complied with.

    Forms get different prompts, and those of different families, as long as there are any, so that
    answers are independent of one another. Ids are those of prompt and template.
    """
    forms: dict[str, list[AttackTemplate]] = defaultdict(list)
    for template in sorted(templates, key=lambda template: _rank(template.id, seed)):
        forms[template.form].append(template)
    found = []
    for over_refusal in (False, True):
        own = _families_in_turn([p for p in prompts if p.over_refusal == over_refusal], seed)
        start = 0
        for _, frames in sorted(forms.items()):
            for number in range(min(count // 2, len(own))):
                prompt = own[(start + number) % len(own)]
                template = frames[number % len(frames)]
                framed = attacked(prompt, template)
                found.append(framed.model_copy(update={"id": f"{prompt.id}/{template.id}"}))
            start += count // 2
    return found


def _families_in_turn(prompts: Sequence[PolicyPrompt], seed: int) -> list[PolicyPrompt]:
    """A prompt of each family, then a second one of each, and so on; in the order of a hash."""
    ordered = sorted(prompts, key=lambda prompt: _rank(prompt.id, seed))
    met: Counter[str] = Counter()
    turns: list[tuple[int, int, PolicyPrompt]] = []
    for prompt in ordered:
        turns.append((met[prompt.family], len(turns), prompt))
        met[prompt.family] += 1
    return [prompt for _, _, prompt in sorted(turns, key=lambda turn: turn[:2])]


def _halves(text: str) -> tuple[str, str]:
    """A text cut between two words; within the word where there is one."""
    words = text.split()
    if len(words) < 2:
        return text[: (len(text) + 1) // 2], text[(len(text) + 1) // 2 :]
    middle = (len(words) + 1) // 2
    return " ".join(words[:middle]), " ".join(words[middle:])


def _rank(name: str, seed: int) -> str:
    return hashlib.sha256(f"attack:{seed}:{name}".encode()).hexdigest()
