"""Grading answers before their grades are asked for: while a policy still generates other ones."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from rbr.data.rows import Message
from rbr.grading.base import (
    Array,
    Conversation,
    Graded,
    Grader,
    Progress,
    ReasonedGrader,
    graded_with_reasons,
)

Answer = tuple[tuple[Message, ...], str]
# Probabilities and reasons of the propositions.
Grades = tuple[Array, Sequence[str]]


class AheadGrader(ReasonedGrader):
    """Another grader, whose answers to expected questions are got ready in a thread.

    ``prepare`` announces an answer; ``grade`` waits for those that are under way and grades the others. So
    the grades are the other grader's, whatever was announced. For a grader that mostly waits, such as one
    on a server: another would take the processor from what it overlaps with.
    """

    def __init__(self, grader: Grader) -> None:
        self.grader = grader
        self.propositions = grader.propositions
        self.thresholds = grader.thresholds
        self._announced: dict[Answer, None] = {}
        self._under_way: dict[Answer, None] = {}
        self._grades: dict[Answer, Grades] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def identity(self, proposition: str) -> str:
        """See ``Grader.identity``."""
        return self.grader.identity(proposition)

    def prepare(self, conversation: Conversation, completion: str) -> None:
        """Announce that an answer will be graded; returns at once."""
        answer = (tuple(conversation), completion)
        with self._changed:
            if self._asked(answer):
                return
            self._announced[answer] = None
            self._changed.notify_all()
            if self._thread is None:
                # A daemon: a hanging server must not keep a stopped training from ending.
                self._thread = threading.Thread(target=self._work, daemon=True)
                self._thread.start()

    def grade_with_reasons(
        self,
        conversations: Sequence[Conversation],
        completions: Sequence[str],
        progress: Progress | None = None,
        propositions: Sequence[str] | None = None,
    ) -> Graded:
        """See ``ReasonedGrader``; what was announced before is forgotten then."""
        answers = [
            (tuple(turns), text) for turns, text in zip(conversations, completions, strict=True)
        ]
        with self._changed:
            new = [answer for answer in dict.fromkeys(answers) if not self._asked(answer)]
        grades = dict(zip(new, self._graded(new, progress), strict=True))
        with self._changed:
            self._changed.wait_for(lambda: not any(map(self._pending, answers)))
            grades |= self._grades
            self._grades.clear()
        # Those of a batch that failed in the thread: a lasting error shows here.
        failed = [answer for answer in dict.fromkeys(answers) if answer not in grades]
        grades |= zip(failed, self._graded(failed), strict=True)
        names = self.propositions if propositions is None else propositions
        columns = [self.propositions.index(name) for name in names]
        p = np.array([grades[answer][0][columns] for answer in answers])
        reasons = [[grades[answer][1][column] for column in columns] for answer in answers]
        return Graded(p.reshape(len(answers), len(columns)), reasons)

    def _asked(self, answer: Answer) -> bool:
        return answer in self._grades or self._pending(answer)

    def _pending(self, answer: Answer) -> bool:
        return answer in self._announced or answer in self._under_way

    def _graded(self, answers: Sequence[Answer], progress: Progress | None = None) -> list[Grades]:
        if not answers:
            return []
        conversations, completions = zip(*answers, strict=True)
        found = graded_with_reasons(self.grader, conversations, completions, progress)
        return list(zip(found.probabilities, found.reasons, strict=True))

    def _work(self) -> None:
        """Grade what is announced, all of it together, for ever."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._announced)
                self._under_way, self._announced = self._announced, {}
                batch = list(self._under_way)
            grades: list[Grades] = []
            try:
                grades = self._graded(batch)
            except Exception:  # ``grade`` asks again, and has the error
                with self._changed:
                    self._announced = {}
            with self._changed:
                self._grades |= zip(batch, grades, strict=False)
                self._under_way = {}
                self._changed.notify_all()
