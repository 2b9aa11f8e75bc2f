import math

import pytest

from preftune.api.steps import Into, Part, Request
from preftune.client.budget import Budget
from preftune.errors import APITimeoutError

GET = Request("GET", "/x?signature=s")
OVER = "not done within the deadline of 9 s for the whole call; raise deadline"


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def what(error):
    return str(error), error.method, error.path, error.ambiguous, error.retry_hint


def test_without_a_deadline_there_is_no_end(clock):
    budget = Budget(None, clock)
    clock.now = 1e9
    assert (budget.left(), budget.allow(1e6), budget.attempt(GET, 60).seconds) == (math.inf, 1e6, 60)
    budget.check()


def test_the_seconds_that_are_left_shorten_an_attempt(clock):
    budget = Budget(9, clock)
    assert budget.attempt(GET, 5).seconds == 5
    clock.now += 7
    assert (budget.left(), budget.attempt(GET, 5).seconds) == (2, 2)


def test_a_pause_that_the_deadline_would_end_is_not_begun(clock):
    budget = Budget(9, clock)
    assert budget.allow(8.5) == 8.5
    with pytest.raises(APITimeoutError) as error:
        budget.allow(9)
    assert what(error.value) == (OVER, "", "", False, False)


def test_a_pause_names_the_last_request(clock):
    budget = Budget(9, clock)
    budget.attempt(GET, 5)
    with pytest.raises(APITimeoutError) as error:
        budget.allow(10)
    assert what(error.value) == (f"GET /x: {OVER}", "GET", "/x", False, False)


def test_no_attempt_begins_after_the_deadline(clock):
    budget = Budget(9, clock)
    clock.now += 9
    with pytest.raises(APITimeoutError) as error:
        budget.attempt(GET, 5)
    assert what(error.value) == (f"GET /x: {OVER}", "GET", "/x", False, False)


@pytest.mark.parametrize("request_", [GET, Request("GET", "/x", into=Into("f")), Request("GET", "/x", body=Part("f"))])
def test_a_deadline_in_the_middle_of_an_answer_leaves_open_what_happened(clock, request_):
    attempt = Budget(9, clock).attempt(request_, 60)
    clock.now += 8.5
    assert attempt.received(b"a") == b"a"
    clock.now += 0.5
    with pytest.raises(APITimeoutError) as error:
        attempt.received(b"b")
    assert what(error.value) == (f"GET /x: {OVER}", "GET", "/x", True, False)


def test_an_answer_that_dribbles_ends_with_its_attempt_and_may_be_asked_for_again(clock):
    attempt = Budget(None, clock).attempt(GET, 5)
    clock.now += 5
    attempt.check()
    clock.now += 0.5
    with pytest.raises(APITimeoutError) as error:
        attempt.check()
    sentence = "GET /x: no whole answer within 5 s; try again, or raise timeout"
    assert what(error.value) == (sentence, "GET", "/x", True, None)
    assert attempt.elapsed() == 5.5


@pytest.mark.parametrize("more", [{"into": Into("f")}, {"body": Part("f")}])
def test_a_transfer_takes_as_long_as_it_moves(clock, more):
    attempt = Budget(None, clock).attempt(Request("PUT", "/x", **more), 5)
    clock.now += 5000
    assert (attempt.received(b"a"), attempt.sent(b"b")) == (b"a", b"b")


def test_whoever_is_told_hears_the_bytes_of_the_file_alone(clock):
    told = []
    part = Part("f", start=7, size=5, head=b"head", tail=b"tail", told=told.append)
    attempt = Budget(None, clock).attempt(Request("PUT", "/x", body=part), 5)
    assert [attempt.sent(chunk) for chunk in (b"head", b"abc", b"de", b"tail")] == [b"head", b"abc", b"de", b"tail"]
    assert told == [0, 3, 5, 5]


def test_bytes_of_no_file_are_sent_and_told_to_nobody(clock):
    attempt = Budget(None, clock).attempt(Request("PUT", "/x", body=b"abc"), 5)
    assert attempt.sent(b"abc") == b"abc"


def test_a_part_that_is_given_up_ends_alone(clock):
    budget = Budget(9, clock)
    part = budget.part()
    attempt = part.attempt(GET, 5)
    part.give_up()
    assert (part.left(), budget.left()) == (0, 9)
    with pytest.raises(APITimeoutError):
        attempt.check()
    budget.check()


def test_a_request_that_cleans_up_has_a_few_seconds_whatever_the_deadline(clock):
    budget = Budget(9, clock)
    clock.now += 90
    tidying = Request("POST", "/abort", tidies=True)
    assert (budget.attempt(tidying, 60).seconds, budget.attempt(tidying, 2).seconds) == (5, 2)
    attempt = budget.attempt(tidying, 60)
    clock.now += 5
    attempt.check()
    clock.now += 0.5
    with pytest.raises(APITimeoutError, match="POST /abort: no whole answer within 5 s"):
        attempt.check()


@pytest.mark.parametrize(
    ("deadline", "request_", "expected"),
    [
        (None, GET, 60),
        (9, GET, 8),
        (90, GET, 60),
        (None, Request("GET", "/x", into=Into("f")), None),
        (9, Request("PUT", "/x", body=Part("f")), 8),
    ],
)
def test_an_attempt_says_how_long_it_may_take_from_now(clock, deadline, request_, expected):
    budget = Budget(deadline, clock)
    clock.now += 1
    assert budget.attempt(request_, 60).longest == expected
