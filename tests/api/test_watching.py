import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.api.models import Event, FineTuneJob, metric_rows
from preftune.api.steps import Now, Request, Sleep
from preftune.api.watching import _row_key, stream_events, stream_metrics, wait
from preftune.errors import APIConnectionError, APITimeoutError, InternalServerError, JobFailedError, NotFoundError

JOB = Request("GET", "/fine-tunes/ft-1")
EVENTS = Request("GET", "/fine-tunes/ft-1/events")


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


class Hosted:
    """A server that appends rows, repeats some, shows some late, and fails at will."""

    def __init__(self, arrivals, faults, last):
        self.arrivals, self.faults, self.last = list(arrivals), list(faults), last
        self.rows = []

    def __call__(self, request):
        if self.faults and (fault := self.faults.pop(0)):
            return fault
        is_running = bool(self.arrivals)
        self.rows += self.arrivals.pop(0) if is_running else []
        if request.path == "/fine-tunes/ft-1":
            if is_running:
                return status("running")
            self.rows, self.last = self.rows + self.last, []
            return status("completed")
        start = (request.params or {}).get("global_step_from", 0)
        return {"metrics": [row for row in self.rows if row["train/global_step"] >= start]}


ROWS = st.lists(
    st.builds(lambda step, make: make(step), st.integers(0, 6), st.sampled_from([train, evaluation])), max_size=6
)
FAULTS = st.lists(
    st.sampled_from(
        [
            None,
            None,
            APIConnectionError("m", method="GET", path="/x", ambiguous=True),
            APITimeoutError("m", method="GET", path="/x"),
            InternalServerError("m", method="GET", path="/x", status=503, retry_after=0.0),
        ]
    ),
    max_size=30,
)


@given(arrivals=st.lists(ROWS, max_size=6), faults=FAULTS, last=ROWS, start=st.none() | st.integers(0, 6))
@settings(max_examples=150, deadline=None)
def test_a_stream_delivers_what_the_server_ever_had_each_row_once(world, arrivals, faults, last, start):
    server = Hosted(arrivals, faults, last)
    emitted = world(server).run(stream_metrics("ft-1", from_step=start)).emitted
    had = {(row.step, row.split) for row in rows(*server.rows) if row.step >= (start or 0)}
    keys = [row.key for row in emitted]
    assert sorted(keys) == sorted(had)


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
    assert 60 <= place.now < 70


def test_a_job_that_ended_in_time_is_returned_although_the_time_is_over(play):
    played = play(wait("ft-1", timeout=1), (Now(), 0.0), (JOB, status("completed")))
    assert played.result.status == "completed"


def test_an_object_of_unknown_metrics_shadows_no_row_of_its_step():
    odd, row = {"train/global_step": 5, "system/gpu": 0.9}, {"train/global_step": 5, "train/loss": 0.5}
    keys = [_row_key(metric_rows(raw)[0]) for raw in (odd, row)]
    assert keys[1] == (5, "train")
    assert keys[0] != keys[1]
