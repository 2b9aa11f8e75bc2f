import json
import math
import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from preftune.api.models import Event, FineTuneJob, MetricRow, metric_rows
from preftune.api.steps import Emit, Now, Request, Response, Sleep, each
from preftune.api.watching import _row_key, follow, stream_events, stream_metrics, wait
from preftune.errors import (
    APIConnectionError,
    APIResponseValidationError,
    APITimeoutError,
    ConfigError,
    ConflictError,
    InternalServerError,
    JobFailedError,
    NotFoundError,
    PermissionDeniedError,
)

JOB = Request("GET", "/fine-tunes/ft-1")
EVENTS = Request("GET", "/fine-tunes/ft-1/events")
CANCEL = Request("POST", "/fine-tunes/ft-1/cancel")
GARBAGE = [b"<html>", b'{"data": [{"id', b"[1]", b"null", b"\xff", b'{"metrics": "none"}']


def status(name):
    return {"id": "ft-1", "status": name}


def metrics(from_step=None):
    return Request(
        "GET", "/fine-tunes/ft-1/metrics", params={} if from_step is None else {"global_step_from": from_step}
    )


def train(step, loss=0.5):
    return {"train/global_step": step, "train/loss": loss}


def evaluation(step, loss=0.5):
    return {"train/global_step": step, "eval/loss": loss}


def rows(*raw):
    return [row for one in raw for row in metric_rows(one)]


# stream_metrics


def test_stream_yields_each_row_once(play):
    played = play(
        stream_metrics("ft-1"),
        (JOB, status("running")),
        (metrics(), {"metrics": [train(1), train(2), train(2)]}),
        (Sleep(0.05), None),
        (JOB, status("running")),
        (metrics(2), {"metrics": [train(2), train(3)]}),
        (Sleep(0.05), None),
        (JOB, status("completed")),
        (metrics(), {"metrics": [train(1), train(2), train(3)]}),
    )
    assert played.emitted == rows(train(1), train(2), train(3))


def test_an_evaluation_at_a_step_already_seen_is_not_lost(play):
    played = play(
        stream_metrics("ft-1", poll_interval=1),
        (JOB, status("running")),
        (metrics(), {"metrics": [train(1)]}),
        (Sleep(1), None),
        (JOB, status("running")),
        (metrics(1), {"metrics": [train(1), evaluation(1)]}),
        (Sleep(1), None),
        (JOB, status("error")),
        (metrics(), {"metrics": [train(1), evaluation(1)]}),
    )
    assert played.emitted == rows(train(1), evaluation(1))


def test_each_reading_is_sorted_training_before_evaluation(play):
    played = play(
        stream_metrics("ft-1"),
        (JOB, status("completed")),
        (metrics(), {"metrics": [evaluation(2), train(3), train(2), evaluation(1), train(1)]}),
    )
    assert played.emitted == rows(train(1), evaluation(1), train(2), evaluation(2), train(3))


def test_a_late_row_is_delivered_at_the_end(play):
    played = play(
        stream_metrics("ft-1", poll_interval=1),
        (JOB, status("running")),
        (metrics(), {"metrics": [train(1), train(3)]}),
        (Sleep(1), None),
        (JOB, status("completed")),
        (metrics(), {"metrics": [train(1), train(2), train(3)]}),
    )
    assert played.emitted == rows(train(1), train(3), train(2))


def test_from_step_is_inclusive_also_in_the_last_reading(play):
    played = play(
        stream_metrics(FineTuneJob(id="ft-1"), from_step=2, poll_interval=1),
        (JOB, status("running")),
        (metrics(2), {"metrics": [train(2), train(4)]}),
        (Sleep(1), None),
        (JOB, status("completed")),
        (metrics(2), {"metrics": [train(2), train(4)]}),
    )
    assert played.emitted == rows(train(2), train(4))


def test_the_last_reading_begins_after_a_final_status_was_seen(play):
    played = play(
        stream_metrics("ft-1", poll_interval=1),
        (JOB, status("running")),
        (metrics(), {"metrics": []}),
        (Sleep(1), None),
        (JOB, status("running")),
        (metrics(), {"metrics": [train(1)]}),
        (Sleep(1), None),
        (JOB, status("completed")),
        (metrics(), {"metrics": [train(1), train(2)]}),
    )
    assert played.emitted == rows(train(1), train(2))


def test_a_stream_goes_on_after_errors(play, dropped, refused):
    played = play(
        stream_metrics("ft-1", poll_interval=1),
        (JOB, dropped()),
        (Now(), 0.0),
        (Sleep(0.5), None),
        (JOB, status("running")),
        (metrics(), refused(503, retry_after=9.0)),
        (Now(), 1.0),
        (Sleep(9.0), None),
        (JOB, status("running")),
        (metrics(), {"metrics": [train(1)]}),
        (Sleep(1), None),
        (JOB, status("completed")),
        (metrics(), dropped()),
        (Now(), 100.0),
        (Sleep(0.5), None),
        (JOB, status("completed")),
        (metrics(), {"metrics": [train(1), train(2)]}),
    )
    assert played.emitted == rows(train(1), train(2))


@pytest.mark.parametrize("ended", ["error", "user_error", "cancelled"])
def test_a_stream_of_a_job_that_failed_ends_quietly(play, ended):
    played = play(stream_metrics("ft-1"), (JOB, status(ended)), (metrics(), {}))
    assert (played.emitted, played.result) == ([], None)


def test_a_stream_of_a_job_that_is_not_there_raises(play, refused):
    with pytest.raises(NotFoundError):
        play(stream_metrics("ft-1"), (JOB, refused(404)), (Now(), 0.0))


def test_a_stream_loses_patience_with_a_server_that_stays_away(world, refused):
    place = world(lambda request: refused(500))
    with pytest.raises(InternalServerError):
        place.run(stream_metrics("ft-1"))
    assert 900 < place.now < 910


def test_rows_without_a_step_are_known_by_all_that_they_say(play):
    played = play(
        stream_metrics("ft-1", poll_interval=1),
        (JOB, status("running")),
        (metrics(), {"metrics": [{"train/loss": 1.0}, {"train/loss": 2.0}]}),
        (Sleep(1), None),
        (JOB, status("completed")),
        (metrics(), {"metrics": [train(1), {"train/loss": 1.0}, {"train/loss": 3.0}]}),
    )
    assert played.emitted == rows({"train/loss": 1.0}, {"train/loss": 2.0}, {"train/loss": 3.0}, train(1))


def test_a_stream_that_is_left_early_asks_for_nothing_more():
    feed = stream_metrics("ft-1")
    assert next(feed) == JOB
    feed.close()
    with pytest.raises(StopIteration):
        next(feed)


@pytest.mark.parametrize("garbage", GARBAGE)
def test_nonsense_before_any_good_answer_is_raised(play, garbage):
    with pytest.raises(APIResponseValidationError):
        play(stream_metrics("ft-1"), (JOB, status("running")), (metrics(), garbage), (Now(), 0.0))


@pytest.mark.parametrize("garbage", GARBAGE)
def test_nonsense_after_a_good_answer_is_borne_like_an_outage(play, garbage):
    played = play(
        stream_metrics("ft-1", poll_interval=1),
        (JOB, status("running")),
        (metrics(), {"metrics": [train(1)]}),
        (Sleep(1), None),
        (JOB, status("running")),
        (metrics(1), garbage),
        (Now(), 10.0),
        (Sleep(0.5), None),
        (JOB, b"<html>"),
        (Now(), 11.0),
        (Sleep(1.0), None),
        (JOB, status("completed")),
        (metrics(), {"metrics": [train(1), train(2)]}),
    )
    assert played.emitted == rows(train(1), train(2))


def test_nonsense_that_lasts_is_raised(world):
    place = world(lambda request: next(answers))
    sense = [status("running"), {"metrics": [train(1)]}]
    answers = iter([*sense, *([b"<html>"] * 1000)])
    with pytest.raises(APIResponseValidationError):
        place.run(stream_metrics("ft-1"))
    assert 900 < place.now < 910


@pytest.mark.parametrize(
    "odd",
    [
        train(2, None),
        train(2, math.nan),
        train(2, "0.5"),
        train(2) | {"train/brand_new": [1], "other/x": None},
        {"train/global_step": 2.0, "train/loss": 0.5},
        evaluation(2, math.inf),
    ],
)
def test_a_row_of_odd_values_is_delivered_once(play, odd):
    played = play(
        stream_metrics("ft-1", poll_interval=1),
        (JOB, status("running")),
        (metrics(), {"metrics": [odd]}),
        (Sleep(1), None),
        (JOB, status("completed")),
        (metrics(), {"metrics": [odd, train(3)]}),
    )
    assert [(row.key, json.dumps(row.raw)) for row in played.emitted] == [
        ((2, "eval" if "eval/loss" in odd else "train"), json.dumps(odd)),
        ((3, "train"), json.dumps(train(3))),
    ]


def test_from_step_holds_also_where_the_server_ignores_it(play):
    everything = {"metrics": [train(1), evaluation(1), train(2), {"train/loss": 9.0}]}
    played = play(stream_metrics("ft-1", from_step=2), (JOB, status("completed")), (metrics(2), everything))
    assert played.emitted == rows({"train/loss": 9.0}, train(2))


# after


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (train(2), [evaluation(2), train(3), evaluation(3)]),
        (evaluation(2), [train(3), evaluation(3)]),
        (train(3), [evaluation(3)]),
        (evaluation(3), []),
    ],
)
def test_after_a_row_comes_what_stands_behind_it(play, last, expected):
    everything = [row for step in (1, 2, 3) for row in (train(step), evaluation(step))]
    (last,) = metric_rows(last)
    played = play(
        stream_metrics("ft-1", after=last, poll_interval=1),
        (JOB, status("running")),
        (metrics(last.step), {"metrics": everything[:4]}),
        (Sleep(1), None),
        (JOB, status("completed")),
        (metrics(last.step), {"metrics": everything}),
    )
    assert played.emitted == rows(*expected)


def test_a_row_and_a_step_to_begin_at_exclude_each_other():
    with pytest.raises(ConfigError) as error:
        stream_metrics("ft-1", from_step=1, after=MetricRow("train", step=1))
    assert str(error.value) == (
        "stream_metrics: expected from_step or after, found both; after=row says the step itself"
    )


@pytest.mark.parametrize("row", [MetricRow("train"), MetricRow("test", step=1), MetricRow("", step=1)])
def test_a_row_without_a_step_or_of_another_split_is_nothing_to_go_on_behind(row):
    with pytest.raises(ConfigError) as error:
        stream_metrics("ft-1", after=row)
    assert str(error.value) == (
        "stream_metrics: expected after= a row with a step, of train or eval, found none such; give from_step="
    )


# raise_on_failure


@pytest.mark.parametrize("ended", ["error", "user_error", "cancelled"])
@pytest.mark.parametrize("stream", [stream_metrics, stream_events, follow])
def test_a_stream_raises_with_the_servers_reason_when_asked_after_it_delivered_everything(play, dropped, stream, ended):
    event = {"type": "job_error", "message": "no GPU"}
    reading = {
        stream_metrics: [(metrics(), {"metrics": [train(1)]})],
        stream_events: [(EVENTS, {"data": [event]})],
        follow: [(metrics(), {"metrics": [train(1)]}), (EVENTS, {"data": [event]})],
    }[stream]
    asked_again = [(EVENTS, dropped()), (Now(), 0.0), (Sleep(0.5), None), (EVENTS, {"data": [event]})]
    delivered = []
    with pytest.raises(JobFailedError) as error:
        play(
            each(stream("ft-1", raise_on_failure=True), delivered.append), (JOB, status(ended)), *reading, *asked_again
        )
    assert str(error.value) == f"job ft-1: {ended}, no GPU"
    assert error.value.events == [Event(**event)]
    expected = {stream_metrics: rows(train(1)), stream_events: [Event(**event)]}
    assert delivered == expected.get(stream, [*rows(train(1)), Event(**event)])


@pytest.mark.parametrize("stream", [stream_metrics, stream_events, follow])
def test_a_stream_of_a_completed_job_raises_nothing(play, stream):
    reading = {stream_metrics: [metrics()], stream_events: [EVENTS], follow: [metrics(), EVENTS]}[stream]
    played = play(stream("ft-1", raise_on_failure=True), (JOB, status("completed")), *((one, {}) for one in reading))
    assert (played.emitted, played.result) == ([], None)


# cancel_if


def too_high(so_far):
    return so_far[-1].loss > 1


def polls(*readings, ended="cancelled"):
    """Return the steps of readings, the last of them at the end; what is no pair is the rows of one."""
    script, cursor, everything = [], None, []
    for number, raw in enumerate(readings):
        is_last = number == len(readings) - 1
        everything += raw
        script += [(JOB, status(ended if is_last else "running"))]
        script += [(metrics(None if is_last else cursor), {"metrics": [*everything]})]
        script += [] if is_last else [(Sleep(1), None)]
        cursor = max([cursor or 0, *(row["train/global_step"] for row in raw)]) or None
    return script


@pytest.mark.parametrize(
    ("verdict", "said"),
    [("it diverges", "it diverges"), (True, "judge said so"), (7, "judge said so")],
)
def test_a_job_is_cancelled_on_the_predicates_word_and_the_error_says_why(play, verdict, said):
    def judge(so_far):
        return verdict if len(so_far) == 2 else ""

    script = polls([train(1), evaluation(1)], [train(2)])
    script.insert(2, (CANCEL, status("cancel_requested")))
    delivered, feed = [], stream_metrics("ft-1", cancel_if=judge, poll_interval=1)
    with pytest.raises(JobFailedError) as error:
        play(each(feed, delivered.append), *script, (EVENTS, {"data": [{"type": "job_stopped", "message": "by you"}]}))
    assert str(error.value) == f"job ft-1: cancelled, cancel_if at step 1 (eval): {said}"
    assert error.value.events == [Event(type="job_stopped", message="by you")]
    assert delivered == rows(train(1), evaluation(1), train(2))


class Verdict:
    """Something true that is no bool, like NumPy's."""

    def __bool__(self):
        return True


def test_a_predicate_without_a_name_is_called_by_its_class(play):
    class Judge:
        def __call__(self, so_far):
            return Verdict()

    script = polls([train(1)], [])
    script.insert(2, (CANCEL, status("cancel_requested")))
    with pytest.raises(JobFailedError, match=r"cancelled, cancel_if at step 1 \(train\): Judge said so"):
        play(stream_metrics("ft-1", cancel_if=Judge(), poll_interval=1), *script, (EVENTS, {}))


def test_the_predicate_sees_row_by_row_all_rows_so_far_until_its_word(play):
    seen = []

    def judge(so_far):
        seen.append([row.key for row in so_far])
        return so_far[-1].step == 2

    script = polls([evaluation(1), train(1)], [train(2), train(3)], [train(4)])
    script.insert(5, (CANCEL, status("cancel_requested")))
    with pytest.raises(JobFailedError):
        play(stream_metrics("ft-1", cancel_if=judge, poll_interval=1), *script, (EVENTS, {}))
    one, two, three = (1, "train"), (1, "eval"), (2, "train")
    assert seen == [[one], [one, two], [one, two, three]]


def test_a_job_is_cancelled_before_its_rows_are_handed_on():
    feed = stream_metrics("ft-1", cancel_if=lambda so_far: True)
    assert next(feed) == JOB
    assert feed.send(respond(JOB, status("running"))) == metrics()
    assert feed.send(respond(metrics(), {"metrics": [train(1)]})) == CANCEL
    assert feed.send(respond(CANCEL, status("cancel_requested"))) == Emit(rows(train(1))[0])


@pytest.mark.parametrize("answer", ["dropped", 409, 429, 503, b"<html>"])
def test_a_cancelling_that_failed_is_tried_again_at_the_next_poll_and_asked_for_once(play, dropped, refused, answer):
    failure = {"dropped": dropped(), b"<html>": b"<html>"}.get(answer) or refused(answer)
    script = polls([train(1, 2.0)], [train(2)], [train(3)], [train(4, 3.0)])
    script.insert(5, (CANCEL, status("cancel_requested")))
    script.insert(2, (CANCEL, failure))
    delivered, feed = [], stream_metrics("ft-1", cancel_if=too_high, poll_interval=1)
    with pytest.raises(JobFailedError, match=r"cancel_if at step 1 \(train\): too_high said so"):
        play(each(feed, delivered.append), *script, (EVENTS, {}))
    assert delivered == rows(train(1, 2.0), train(2), train(3), train(4, 3.0))


def test_a_cancelling_that_is_not_allowed_is_raised(play, refused):
    script = polls([train(1, 2.0)], [])[:2]
    with pytest.raises(PermissionDeniedError):
        play(stream_metrics("ft-1", cancel_if=too_high), *script, (CANCEL, refused(403)))


@pytest.mark.parametrize("answer", ["taken", "refused"])
def test_a_job_that_completes_before_it_is_cancelled_is_no_failure(play, refused, answer):
    script = polls([train(1, 2.0)], [train(2)], [train(3)], ended="completed")
    script.insert(2, (CANCEL, status("cancel_requested") if answer == "taken" else refused(400)))
    played = play(stream_metrics("ft-1", cancel_if=too_high, poll_interval=1), *script)
    assert played.emitted == rows(train(1, 2.0), train(2), train(3))


@pytest.mark.parametrize("ended", ["error", "user_error"])
def test_a_job_that_fails_by_itself_before_it_is_cancelled_has_the_servers_reason(play, refused, ended):
    script = [*polls([train(1, 2.0)], ended=ended), (CANCEL, refused(400))]
    with pytest.raises(JobFailedError) as error:
        play(
            stream_metrics("ft-1", cancel_if=too_high),
            *script,
            (EVENTS, {"data": [{"type": "job_error", "message": "no GPU"}]}),
        )
    assert str(error.value) == f"job ft-1: {ended}, no GPU"


def test_a_job_that_others_cancelled_ends_the_stream_quietly(play):
    script = polls([train(1)], [train(2)])
    played = play(stream_metrics("ft-1", cancel_if=too_high, poll_interval=1), *script)
    assert played.emitted == rows(train(1), train(2))


def test_an_error_of_the_predicate_is_the_callers(play):
    with pytest.raises(ZeroDivisionError):
        play(stream_metrics("ft-1", cancel_if=lambda so_far: 1 / 0), *polls([train(1)], [])[:2])


def test_the_predicate_of_follow_is_shown_rows_alone(play):
    seen = []
    events = {"data": [{"type": "job_start", "created_at": "2026-01-01T00:00:00Z"}]}
    play(
        follow("ft-1", cancel_if=lambda so_far: seen.append([row.key for row in so_far])),
        (JOB, status("completed")),
        (metrics(), {"metrics": [train(1)]}),
        (EVENTS, events),
    )
    assert seen == [[(1, "train")]]


# follow


def at(second):
    return f"2026-01-01T00:00:{second:02}Z"


def timed(step, second):
    return train(step) | {"timestamp": (1_767_225_600 + second) * 10**9}


def told(message, second=None):
    return {"type": "x", "message": message} | ({} if second is None else {"created_at": at(second)})


def summary(items):
    return " ".join(str(item.step) if isinstance(item, MetricRow) else item.message for item in items)


def once(found, events):
    return (JOB, status("completed")), (metrics(), {"metrics": found}), (EVENTS, {"data": events})


@pytest.mark.parametrize(
    ("found", "events", "expected"),
    [
        ([], [], ""),
        ([timed(1, 10), timed(2, 20)], [told("a", 5), told("b", 15), told("c", 25)], "a 1 b 2 c"),
        ([timed(1, 10)], [told("a", 10)], "1 a"),
        ([train(1), train(2)], [told("a", 5)], "1 2 a"),
        ([timed(1, 10), train(2), timed(3, 30)], [told("a", 5), told("b", 20)], "a 1 2 b 3"),
        ([timed(1, 10), timed(2, 20)], [told("a", 5), told("b"), told("c", 15)], "a b 1 c 2"),
        ([timed(1, 30), timed(2, 10), timed(3, 40)], [told("a", 20), told("b", 35)], "a 1 2 b 3"),
        ([timed(1, 10)], [told("a", 20), told("b", 5)], "1 a b"),
        ([timed(1, 10)], [{"type": "x", "message": "a", "created_at": "soon"}], "a 1"),
        ([train(1) | {"timestamp": 10**40}], [told("a", 5)], "1 a"),
        ([timed(1, 10)], [{"message": "a", "created_at": "0001-01-01T00:00:00"}], "a 1"),
        ([timed(1, 10)], [{"message": "a", "created_at": "2026-01-01T00:00:05"}, told("b", 15)], "a 1 b"),
    ],
)
def test_rows_and_events_are_merged_in_time_and_keep_their_own_order(play, found, events, expected):
    assert summary(play(follow("ft-1"), *once(found, events)).emitted) == expected


@pytest.mark.parametrize("zone", ["Pacific/Auckland", "America/Los_Angeles"])
def test_a_time_without_a_zone_is_universal_wherever_the_reader_is(play, monkeypatch, zone):
    events = [{"message": f"{second}", "created_at": f"2026-01-01T00:00:{second}"} for second in (15, 25)]
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        emitted = play(follow("ft-1"), *once([timed(1, 10), timed(2, 20), timed(3, 30)], events)).emitted
    time.tzset()
    assert summary(emitted) == "1 15 2 25 3"


@pytest.mark.parametrize("failing", ["metrics", "events"])
def test_nothing_counts_as_seen_before_rows_and_events_have_both_been_read(play, dropped, failing):
    found, events = {"metrics": [timed(1, 10)]}, {"data": [told("a", 5)]}
    first = [(metrics(), dropped())] if failing == "metrics" else [(metrics(), found), (EVENTS, dropped())]
    played = play(
        follow("ft-1", poll_interval=1),
        (JOB, status("running")),
        *first,
        (Now(), 0.0),
        (Sleep(0.5), None),
        (JOB, status("running")),
        (metrics(), found),
        (EVENTS, events),
        (Sleep(1), None),
        (JOB, status("completed")),
        (metrics(), found),
        (EVENTS, events),
    )
    assert summary(played.emitted) == "a 1"


def test_follow_begins_at_a_step_and_asks_for_everything_from_there_at_the_end(play):
    played = play(
        follow("ft-1", from_step=2, poll_interval=1),
        (JOB, status("running")),
        (metrics(2), {"metrics": [timed(1, 10), timed(3, 30)]}),
        (EVENTS, {"data": [told("a", 5)]}),
        (Sleep(1), None),
        (JOB, status("completed")),
        (metrics(2), {"metrics": [timed(2, 20), timed(3, 30)]}),
        (EVENTS, {"data": [told("a", 5), told("b", 40)]}),
    )
    assert summary(played.emitted) == "a 3 2 b"


def respond(step, value):
    return Response(200, {}, value if isinstance(value, bytes) else json.dumps(value).encode(), step)


# stream_events


def test_events_come_each_once_until_the_job_ends(play, dropped):
    start, odd = {"type": "JOB_START", "message": "go"}, {"type": "x", "message": ["a list"], "step": {}}
    end = {"type": "JOB_COMPLETE", "message": "done"}
    played = play(
        stream_events("ft-1", poll_interval=1),
        (JOB, status("running")),
        (EVENTS, {"data": [start, start | {"type": "job_start"}]}),
        (Sleep(1), None),
        (JOB, status("running")),
        (EVENTS, dropped()),
        (Now(), 0.0),
        (Sleep(0.5), None),
        (JOB, status("completed")),
        (EVENTS, {"data": [start, odd, end, odd]}),
    )
    assert played.emitted == [Event(**start), Event.model_validate(odd), Event(**end)]


# wait


def test_wait_returns_the_completed_job(play):
    played = play(
        wait("ft-1", poll_interval=3),
        (JOB, status("queued")),
        (Sleep(3), None),
        (JOB, status("running")),
        (Sleep(3), None),
        (JOB, status("completed")),
    )
    assert played.result == FineTuneJob(id="ft-1", status="completed")


@pytest.mark.parametrize("ended", ["error", "user_error", "cancelled"])
@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([{"type": "JOB_ERROR", "message": "no GPU"}, {"type": "refund", "message": "$4"}], "no GPU"),
        ([{"type": "job_user_error", "message": "a"}, {"type": "JOB_USER_ERROR", "message": "b"}], "b"),
        ([{"type": "job_stopped", "message": "by you"}], "by you"),
        ([{"type": "billing_limit", "message": "no money"}], "no money"),
        ([{"type": "x", "level": "legacy_error", "message": "old"}, {"type": "y", "message": "z"}], "old"),
        ([{"type": "x", "message": "first"}, {"type": "y", "message": "last words"}], "last words"),
        ([], "the server gave no reason; see client.fine_tuning.retrieve('ft-1')"),
    ],
)
def test_wait_raises_with_the_servers_reason(play, ended, events, reason):
    with pytest.raises(JobFailedError) as error:
        play(wait("ft-1"), (JOB, status(ended)), (EVENTS, {"data": events}))
    assert str(error.value) == f"job ft-1: {ended}, {reason}"
    assert error.value.job == FineTuneJob(id="ft-1", status=ended)
    assert error.value.events == [Event(**event) for event in events]


def test_wait_bears_failures_that_pass_also_while_it_asks_for_the_reason(play, dropped, refused):
    with pytest.raises(JobFailedError, match="job ft-1: error, why"):
        play(
            wait("ft-1"),
            (JOB, refused(502)),
            (Now(), 0.0),
            (Sleep(0.5), None),
            (JOB, dropped()),
            (Now(), 1.0),
            (Sleep(1.0), None),
            (JOB, status("error")),
            (EVENTS, dropped()),
            (Now(), 2.0),
            (Sleep(2.0), None),
            (JOB, status("error")),
            (EVENTS, {"data": [{"message": "why"}]}),
        )


def test_wait_does_not_bear_a_missing_job(play, refused):
    with pytest.raises(NotFoundError):
        play(wait("ft-1"), (JOB, refused(404)), (Now(), 0.0))


def test_wait_gives_up_after_its_time(play):
    with pytest.raises(APITimeoutError) as error:
        play(
            wait("ft-1", timeout=60, poll_interval=30),
            (Now(), 100.0),
            (JOB, status("running")),
            (Now(), 159.5),
            (Sleep(0.5), None),
            (JOB, status("running")),
            (Now(), 160.0),
        )
    assert str(error.value) == (
        "job ft-1: expected it to end within 60 s, found running; it goes on: wait again, or cancel it"
    )


def test_wait_gives_up_after_its_time_although_no_answer_comes(world, dropped):
    place = world(lambda request: dropped())
    with pytest.raises(APIConnectionError):
        place.run(wait("ft-1", timeout=60))
    assert place.now == 60


def test_a_job_that_ended_in_time_is_returned_although_the_time_is_over(play):
    played = play(wait("ft-1", timeout=1), (Now(), 0.0), (JOB, status("completed")))
    assert played.result.status == "completed"


def test_an_object_of_unknown_metrics_shadows_no_row_of_its_step():
    odd, row = {"train/global_step": 5, "system/gpu": 0.9}, {"train/global_step": 5, "train/loss": 0.5}
    keys = [_row_key(metric_rows(raw)[0]) for raw in (odd, row)]
    assert keys[1] == (5, "train")
    assert keys[0] != keys[1]


# any order of rows, faults and readings


def row_of(kind, step, value):
    """Return an object of the server, and what makes each of its rows one of its kind."""
    raw = {
        "train": {"train/loss": value},
        "eval": {"eval/loss": value},
        "both": {"train/loss": value, "eval/loss": value},
        "unknown key": {"train/loss": value, "train/brand_new": "x", "gpu/heat": 70},
        "unknown alone": {"gpu/heat": value},
    }[kind] | {"train/global_step": step}
    splits = {"eval": ["eval"], "both": ["train", "eval"]}.get(kind, ["train"])
    if step is None or kind == "unknown alone":
        return raw, {(json.dumps(raw), split): split for split in splits}
    return raw, {(step, split): split for split in splits}


def is_from(first, raw):
    step = raw["train/global_step"]
    return first is None or step is None or step >= first


KINDS = st.sampled_from(["train", "eval", "both", "unknown key", "unknown alone"])
VALUES = st.sampled_from([0.5, 0.25, None, math.nan, math.inf, "odd"])
PASSING = [
    APIConnectionError("dropped", method="GET", path="/x", ambiguous=True),
    APITimeoutError("slow", method="GET", path="/x"),
    ConflictError("409", method="GET", path="/x", status=409),
    InternalServerError("503", method="GET", path="/x", status=503, retry_after=0.0),
    InternalServerError("500", method="GET", path="/x", status=500),
]
LIFE = ["pending", "queued", "running", "cancel_requested", "compressing", "uploading", "a_new_one"]
ENDS = ["completed", "error", "user_error", "cancelled"]


class Streamed(RuleBasedStateMachine):
    """A server of one job that grows, repeats, comes late and fails, and a stream of it that takes a step at a time."""

    last_of_a_reading = "/metrics"

    def __init__(self):
        super().__init__()
        self.raw, self.had, self.starts = [], {}, {}
        self.status, self.faults = "pending", []
        self.has_answered = False  # nonsense before a first whole reading is raised
        self.now, self.delivered = 0.0, []

    @initialize(start=st.none() | st.integers(0, 6), honours_start=st.booleans())
    def begin(self, start, honours_start):
        self.start, self.honours_start = start, honours_start
        self.feed = self.stream(start)
        self.step = next(self.feed)

    def stream(self, start):
        return stream_metrics("ft-1", from_step=start)

    def is_running(self):
        return self.status not in ENDS

    @precondition(is_running)
    @rule(kind=KINDS, value=VALUES, ahead=st.integers(0, 2))
    def append(self, kind, value, ahead):
        newest = max((raw["train/global_step"] or 0 for raw in self.raw), default=0)
        self.add(*row_of(kind, newest + ahead, value))

    @precondition(is_running)
    @rule(kind=KINDS, value=VALUES, step=st.none() | st.integers(0, 6), place=st.integers(0, 20))
    def insert_late(self, kind, value, step, place):
        self.add(*row_of(kind, step, value), place=place)

    @precondition(lambda self: self.raw and self.is_running())
    @rule(which=st.integers(0, 1000), place=st.integers(0, 20))
    def repeat(self, which, place):
        self.raw.insert(place, self.raw[which % len(self.raw)])

    def add(self, raw, keys, place=None):
        if not keys.keys() & self.had.keys():  # of two objects for one row, nobody knows which is seen first
            self.raw.insert(len(self.raw) if place is None else place, raw)
            self.had |= {key: (split, raw) for key, split in keys.items()}

    @precondition(is_running)
    @rule(status=st.sampled_from(LIFE))
    def go_on(self, status):
        self.status = status

    @precondition(is_running)
    @rule(status=st.sampled_from(ENDS))
    def end(self, status):
        self.status = status

    @rule(faults=st.lists(st.sampled_from(PASSING), min_size=1, max_size=4))
    def fail(self, faults):
        self.faults += faults

    @precondition(lambda self: self.has_answered)
    @rule(garbage=st.sampled_from(GARBAGE[:5]))
    def talk_nonsense(self, garbage):
        self.faults.append(garbage)

    @precondition(lambda self: self.step is not None)
    @rule(steps=st.integers(1, 4))
    def read(self, steps):
        for _ in range(steps):
            self.advance()

    def advance(self):
        try:
            if isinstance(self.step, Request) and self.faults:
                fault = self.faults.pop(0)
                is_error = isinstance(fault, Exception)
                self.step = self.feed.throw(fault) if is_error else self.feed.send(respond(self.step, fault))
            elif self.step is not None:
                self.step = self.feed.send(self.answer(self.step))
        except StopIteration:
            self.step = None

    def answer(self, step):
        match step:
            case Emit(item):
                return self.delivered.append(item)
            case Now():
                return self.now
            case Sleep(seconds):
                self.now += seconds
                return None
        self.has_answered |= step.path.endswith(self.last_of_a_reading)
        return respond(step, self.served(step))

    def served(self, request):
        if request == JOB:
            return status(self.status)
        first = request.params.get("global_step_from") if self.honours_start else None
        return {"metrics": [raw for raw in self.raw if is_from(first, raw)]}

    def rows(self):
        return [row for row in self.delivered if isinstance(row, MetricRow)]

    @invariant()
    def no_row_comes_twice(self):
        keys = [_row_key(row) for row in self.rows()]
        assert len(keys) == len({*map(repr, keys)})

    def teardown(self):
        if not hasattr(self, "feed"):
            return
        self.status = self.status if self.status in ENDS else "completed"
        while self.step is not None:
            self.advance()
        assert sorted((row.split, json.dumps(row.raw)) for row in self.rows()) == sorted(
            (split, json.dumps(raw)) for split, raw in self.had.values() if is_from(self.start, raw)
        )


class Followed(Streamed):
    """The same server, which also tells of events."""

    last_of_a_reading = "/events"

    def __init__(self):
        super().__init__()
        self.events = []

    def stream(self, start):
        return follow("ft-1", from_step=start)

    @precondition(Streamed.is_running)
    @rule(second=st.none() | st.integers(0, 59))
    def happen(self, second):
        self.events.append(told(f"number {len(self.events)}", second))

    def served(self, request):
        return {"data": self.events * 2} if request == EVENTS else super().served(request)

    def teardown(self):
        super().teardown()
        assert [item.message for item in self.delivered if isinstance(item, Event)] == [
            event["message"] for event in self.events
        ]


ANY_ORDER = settings(max_examples=100, stateful_step_count=40, deadline=None, derandomize=True)


def test_a_stream_delivers_the_rows_that_the_server_ever_had_each_once():
    run_state_machine_as_test(Streamed, settings=ANY_ORDER)


def test_following_delivers_the_rows_and_events_that_the_server_ever_had_each_once():
    run_state_machine_as_test(Followed, settings=ANY_ORDER)
