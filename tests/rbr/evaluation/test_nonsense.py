"""Word salad: its share of the best class is measured on prompts that are to be answered."""

from types import SimpleNamespace

from rbr.data.rows import Labelled, Message
from rbr.evaluation.nonsense import ANSWERS, nonsense_best_share

ANSWER = "It boils at one hundred degrees, as long as you are by the sea."


class Judge:
    """Takes an answer for good where this word stands before that one."""

    def __init__(self, one, other):
        self.rules = SimpleNamespace(over_refusal=lambda response_type: response_type == "comply")
        self.words, self.seen = (one, other), []

    def judge(self, conversations, completions, response_types):
        self.seen += completions
        one, other = self.words
        good = [text.index(one) < text.index(other) for text in completions]
        return [(SimpleNamespace(quality="best" if fine else "other"), ()) for fine in good]


def rows(count, response_type="comply", completion=ANSWER):
    asked = (Message(role="user", content="When does water boil?"),)
    fields = {"response_type": response_type, "conversation": asked, "true": ()}
    return [
        Labelled(id=f"{response_type}-{i}", completion=completion, **fields) for i in range(count)
    ]


def test_a_judge_that_reads_word_by_word_is_found_out():
    judge = Judge("boils", "degrees,")
    share = nonsense_best_share(judge, rows(100), 0)
    assert 0.2 < share < 0.8
    assert len(judge.seen) == ANSWERS
    assert ANSWER not in judge.seen
    assert {tuple(sorted(text.split())) for text in judge.seen} == {tuple(sorted(ANSWER.split()))}


def test_answers_of_a_script_without_spaces_are_shuffled_too():
    judge = Judge("海", "百")
    assert (
        0 < nonsense_best_share(judge, rows(100, completion="海の近くでは百度で沸きます。"), 0) < 1
    )
    assert judge.seen
    few = Judge("海", "百")
    assert nonsense_best_share(few, rows(5, completion="海は百。"), 0) == 0
    assert not few.seen


def test_refusals_and_answers_of_few_words_are_not_shuffled():
    judge = Judge("boils", "degrees,")
    assert (
        nonsense_best_share(judge, [*rows(5, "hard_refusal"), *rows(5, completion="No.")], 0) == 0
    )
    assert not judge.seen
