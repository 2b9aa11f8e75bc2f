import pytest

from preftune.api.steps import Emit, Request, Sleep, each


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
