from pathlib import Path

import pytest

from preftune.api.steps import Emit, Into, Part, Request, Response, Sleep, each


def feed():
    try:
        yield Emit(1)
        answer = yield Sleep(1)
        yield Emit(answer)
        try:
            yield Request("GET", "/x")
        except KeyError:
            yield Emit("borne")
    finally:
        closed.append(True)


closed = []


@pytest.fixture(autouse=True)
def _open():
    closed.clear()


def test_each_hands_the_items_of_a_feed_to_a_function(play):
    items = []
    played = play(each(feed(), items.append), (Sleep(1), 2), (Request("GET", "/x"), KeyError()))
    assert (items, played.emitted, played.result) == ([1, 2, "borne"], [], None)


def test_each_closes_the_feed_that_it_leaves():
    flow = each(feed(), [].append)
    assert next(flow) == Sleep(1)
    flow.close()
    assert closed == [True]


def test_each_lets_an_error_that_the_feed_does_not_bear_pass_and_closes_it(play):
    items, error = [], ValueError()
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - it is the very error
        play(each(feed(), items.append), (Sleep(1), error))
    assert raised.value is error
    assert (items, closed) == ([1], [True])


def test_each_of_an_empty_feed_does_nothing(play):
    assert play(each(iter_nothing(), [].append)).steps == []


def iter_nothing():
    yield from ()


@pytest.mark.parametrize(
    ("part", "length"),
    [
        (Part(Path("f")), 0),
        (Part(Path("f"), start=100, size=7), 7),
        (Part(Path("f"), size=7, head=b"12", tail=b"345"), 12),
    ],
)
def test_a_part_is_as_long_as_what_is_sent(part, length):
    assert part.length == length


ANSWER = Response(206, {"x": "canary"}, b"canary", Request("GET", "/x?canary"))


@pytest.mark.parametrize(
    ("step", "shown"),
    [
        (Request("GET", "/files"), "Request(GET /files)"),
        (Request("GET", "https://store/a/b?signature=canary"), "Request(GET https://store/a/b)"),
        (
            Request(
                "POST", "/x", {"q": "canary"}, {"key": "canary"}, {"part": "canary"}, b"canary", headers={"h": "canary"}
            ),
            "Request(POST /x)",
        ),
        (ANSWER, "Response(206, 6 bytes, Request(GET /x))"),
    ],
)
def test_a_request_and_its_answer_show_where_it_goes_and_nothing_secret(step, shown):
    assert (repr(step), str(step), f"{[step]}") == (shown, shown, f"[{shown}]")


def test_requests_that_show_alike_are_not_equal():
    assert Request("GET", "/x?a=1") != Request("GET", "/x?a=2")


def test_a_request_ends_with_the_call_that_makes_it_and_an_answer_in_a_file_has_no_bound_unless_said():
    assert (Request("GET", "/x").tidies, Into(Path("f")).most) == (False, None)
    assert Into(Path("f"), most=7) == Into(Path("f"), 0, None, 7)
