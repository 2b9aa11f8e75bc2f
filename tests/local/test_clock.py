import math
from types import SimpleNamespace

import pytest

from preftune.errors import LocalServerError
from preftune.local import clock
from preftune.local.clock import Clock, speed_of
from preftune.local.store import Store


@pytest.fixture
def pass_time(monkeypatch):
    """Return a way to let real time pass, which otherwise stands still."""
    now = [1_800_000_000.0]
    monkeypatch.setattr(clock, "time", SimpleNamespace(time=lambda: now[0]))

    def let_pass(seconds):
        now[0] += seconds

    return let_pass


@pytest.fixture
def started(store, pass_time):
    def start(speed):
        made = Clock(store)
        made.start(speed_of(speed))
        return made

    return start


@pytest.mark.parametrize(
    ("given", "expected"),
    [("instant", math.inf), ("real", 1.0), ("0", 0.0), ("2.5", 2.5), (0, 0.0), (60, 60.0), (math.inf, math.inf)],
)
def test_a_speed_is_a_name_or_a_factor(given, expected):
    assert speed_of(given) == expected


@pytest.mark.parametrize("given", ["", "fast", "INSTANT", "-1", -0.5, math.nan, "nan", -math.inf])
def test_what_is_no_speed_is_refused_in_a_sentence(given):
    with pytest.raises(LocalServerError) as error:
        speed_of(given)
    assert str(error.value) == f"speed: expected instant, real, or a factor of at least 0, found {given!r}"


@pytest.mark.parametrize(("speed", "expected"), [("real", 10.0), (60, 600.0), (0.5, 5.0), (0, 0.0)])
def test_the_clock_goes_at_its_speed(started, pass_time, speed, expected):
    made = started(speed)
    assert made.now() == 0.0
    pass_time(10)
    assert made.now() == expected


def test_at_instant_speed_everything_has_come_already(started, pass_time):
    made = started("instant")
    pass_time(10)
    assert (made.now(), made.after(30), made.until(5.0), made.until(1e9)) == (math.inf, 0.0, 0.0, 0.0)


def test_a_clock_that_nobody_started_is_instant(store):
    made = Clock(store)
    assert (made.now(), made.after(30), made.until(30)) == (math.inf, 0.0, 0.0)


@pytest.mark.parametrize(("speed", "wait"), [("real", 30.0), (60, 0.5), (0.5, 60.0)])
def test_a_phase_ends_after_its_seconds_and_is_waited_for_in_real_ones(started, pass_time, speed, wait):
    made = started(speed)
    pass_time(4)
    now, end = made.now(), made.after(30)
    assert (end, made.until(end)) == (now + 30, wait)
    pass_time(wait)
    assert (made.until(end), made.until(now)) == (0.0, 0.0)


def test_a_clock_that_stands_still_moves_when_it_is_turned_alone(started, pass_time):
    made = started(0)
    pass_time(99)
    end = made.after(30)
    assert (made.now(), end, made.until(end)) == (0.0, 30.0, None)
    made.turn(29.5)
    assert (made.now(), made.until(end)) == (29.5, None)
    made.turn(0.5)
    assert (made.now(), made.until(end)) == (30.0, 0.0)


def test_a_clock_that_goes_can_be_turned_as_well(started, pass_time):
    made = started(2)
    pass_time(1)
    made.turn(10)
    pass_time(1)
    assert made.now() == 14.0


def test_turning_an_instant_clock_leaves_it_instant(started):
    made = started("instant")
    made.turn(10)
    assert made.now() == math.inf


@pytest.mark.parametrize(("speed", "later"), [("real", 13.0), (10, 40.0), (0, 10.0), ("instant", math.inf)])
def test_the_clock_goes_on_with_the_next_server_at_its_speed(started, pass_time, speed, later):
    started("real")
    pass_time(10)
    made = started(speed)
    pass_time(3)
    assert made.now() == later


def test_a_clock_that_was_instant_goes_on_from_where_it_stood(started, pass_time):
    started("real")
    pass_time(10)
    started("instant")
    pass_time(99)
    made = started("real")
    pass_time(1)
    assert made.now() == 11.0


def test_server_and_worker_read_one_clock(started, store):
    started(0).turn(7)
    again = Store(store.folder)
    assert Clock(again).now() == 7.0
    again.close()
