import logging

import httpx
import pytest

from preftune.errors import (
    APIConnectionError,
    APITimeoutError,
    BadRequestError,
    ConflictError,
    InternalServerError,
    RateLimitError,
)

BASE = "http://api.test"
OK = httpx.Response(200, json={"id": "ft-1"})


def fails(status, **headers):
    return httpx.Response(status, headers={name.replace("_", "-"): value for name, value in headers.items()})


def retrieve(client):
    return client.fine_tuning.retrieve("ft-1")


@pytest.fixture
def job(respx_mock):
    return respx_mock.get(f"{BASE}/v1/fine-tunes/ft-1")


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_a_failure_that_may_pass_is_tried_again(rig, job, status):
    job.side_effect = [fails(status), fails(status), OK]
    assert rig.do(retrieve).id == "ft-1"
    assert rig.slept == [0.5, 1.0]


@pytest.mark.parametrize("failure", [httpx.ConnectError, httpx.ReadTimeout, httpx.RemoteProtocolError, httpx.ReadError])
def test_a_missing_answer_is_asked_for_again(rig, job, failure):
    job.side_effect = [failure, OK]
    assert rig.do(retrieve).id == "ft-1"


@pytest.mark.parametrize("status", [302, 400, 401, 402, 403, 404, 422, 425])
def test_other_statuses_are_raised_at_once(rig, job, status):
    job.side_effect = [fails(status)]
    with pytest.raises(Exception, match=f"GET /fine-tunes/ft-1: {status}, no reason given"):
        rig.do(retrieve)
    assert rig.slept == []


@pytest.mark.parametrize(("max_retries", "calls"), [(0, 1), (2, 3), (5, 6)])
def test_retries_are_counted(rig, job, max_retries, calls):
    job.side_effect = [fails(500)] * calls
    with pytest.raises(InternalServerError):
        rig.do(retrieve, max_retries=max_retries)
    assert job.call_count == calls


def test_pauses_are_shortened_by_chance(rig, job):
    rig.chance = 0.5
    job.side_effect = [fails(500), fails(500), OK]
    rig.do(retrieve)
    assert rig.slept == [0.4375, 0.875]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": "0.25"}, 0.25),
        ({"retry_after": "0"}, 0.0),
        ({"retry_after": "-5"}, 0.0),
        ({"retry_after": "120"}, 120.0),
        ({"retry_after_ms": "1500"}, 1.5),
        ({"retry_after_ms": "1500", "retry_after": "9"}, 1.5),
        ({"retry_after_ms": "soon", "retry_after": "9"}, 9.0),
        ({"retry_after_ms": "nan", "retry_after": "9"}, 9.0),
        ({"retry_after": "inf"}, 0.5),
        ({"retry_after": "soon"}, 0.5),
        ({"retry_after": "Mon, 01 Jan 99999999999999 00:00:00 GMT"}, 0.5),
        ({"retry_after": "Thu, 01 Jan 1970 00:00:30 GMT"}, 30.0),
        ({"retry_after": "Wed, 31 Dec 1969 23:59:59 GMT"}, 0.0),
    ],
)
def test_the_pause_that_the_server_asks_for_is_kept(rig, job, monkeypatch, headers, seconds):
    monkeypatch.setattr("preftune.client.drivers.time.time", lambda: 0.0)
    job.side_effect = [fails(429, **headers), OK]
    rig.do(retrieve)
    assert rig.slept == [seconds]


def test_a_pause_beyond_two_minutes_is_an_error_at_once(rig, job):
    job.side_effect = [fails(429, retry_after="121")]
    with pytest.raises(RateLimitError) as error:
        rig.do(retrieve)
    assert (error.value.retry_after, rig.slept) == (121.0, [])


def test_the_server_may_ask_for_another_try(rig, job):
    job.side_effect = [fails(400, x_should_retry="true"), OK]
    assert rig.do(retrieve).id == "ft-1"


def test_the_server_may_ask_not_to_be_tried_again(rig, job):
    job.side_effect = [fails(500, x_should_retry="False")]
    with pytest.raises(InternalServerError):
        rig.do(retrieve)


def test_a_duplicate_file_is_not_tried_again(rig, respx_mock, tmp_path):
    (tmp_path / "p.jsonl").write_text("{}")
    respx_mock.post(f"{BASE}/v1/files").side_effect = [fails(409)]
    with pytest.raises(ConflictError):
        rig.do(lambda client: client.files.upload(tmp_path / "p.jsonl"))


def test_a_deadline_ends_a_call_before_a_pause_that_would_miss_it(rig, job):
    job.side_effect = [fails(500)] * 3
    with pytest.raises(InternalServerError):
        rig.do(retrieve, max_retries=9, deadline=2.0)
    assert rig.slept == [0.5, 1.0]


def test_a_deadline_shortens_the_attempts(rig, job):
    timeouts = []

    def answer(request):
        timeouts.append(request.extensions["timeout"]["read"])
        rig.now += 4
        raise httpx.ReadTimeout("", request=request)

    job.side_effect = answer
    with pytest.raises(
        APITimeoutError, match=r"no answer within the 1\.5 s that the deadline of the call left; raise deadline"
    ):
        rig.do(retrieve, timeout=5, deadline=6)
    assert timeouts == [5, 1.5]


def test_a_debug_line_says_what_is_tried_again_and_no_key(rig, job, caplog):
    job.side_effect = [fails(500), OK]
    with caplog.at_level(logging.DEBUG, logger="preftune"):
        rig.do(retrieve)
    assert [record.getMessage() for record in caplog.records if record.name == "preftune"] == [
        "GET /fine-tunes/ft-1: 500 in 0.000 s",
        "GET /fine-tunes/ft-1: attempt 1 failed (InternalServerError), again in 0.50 s",
        "GET /fine-tunes/ft-1: 200 in 0.000 s",
    ]


# creation decides for itself


CREATE = {"model": "m", "training_file": "f"}


def test_a_job_is_not_asked_for_twice_after_a_lost_answer(rig, respx_mock):
    respx_mock.get(f"{BASE}/v1/fine-tunes").side_effect = [
        httpx.Response(200, json={"data": []}),
        httpx.Response(200, json={"data": [{"id": "ft-1", **CREATE}]}),
    ]
    post = respx_mock.post(f"{BASE}/v1/fine-tunes").mock(side_effect=httpx.ReadTimeout)
    assert rig.do(lambda client: client.fine_tuning.create(**CREATE)).id == "ft-1"
    assert (post.call_count, rig.slept) == (1, [0.5])


def test_a_job_is_asked_for_again_when_it_was_surely_not(rig, respx_mock):
    respx_mock.get(f"{BASE}/v1/fine-tunes").respond(json={"data": []})
    post = respx_mock.post(f"{BASE}/v1/fine-tunes").mock(side_effect=[httpx.ConnectError, OK])
    assert rig.do(lambda client: client.fine_tuning.create(**CREATE)).id == "ft-1"
    keys = {call.request.headers["idempotency-key"] for call in post.calls}
    assert (post.call_count, len(keys)) == (2, 1)


def test_two_jobs_have_two_idempotency_keys(rig, respx_mock):
    respx_mock.get(f"{BASE}/v1/fine-tunes").respond(json={"data": []})
    post = respx_mock.post(f"{BASE}/v1/fine-tunes").mock(return_value=OK)
    for _ in range(2):
        rig.do(lambda client: client.fine_tuning.create(**CREATE))
    first, second = (call.request.headers["idempotency-key"] for call in post.calls)
    assert first != second
    assert len(first) == 32


def test_a_refused_job_is_an_error_at_once(rig, respx_mock):
    respx_mock.get(f"{BASE}/v1/fine-tunes").respond(json={"data": []})
    respx_mock.post(f"{BASE}/v1/fine-tunes").respond(400, json={"error": {"message": "bad rate"}})
    with pytest.raises(BadRequestError, match="POST /fine-tunes: 400, bad rate"):
        rig.do(lambda client: client.fine_tuning.create(**CREATE))


def test_a_refused_connection_is_told_in_a_short_traceback(rig, job):
    job.side_effect = [httpx.ConnectError("refused")] * 3
    with pytest.raises(APIConnectionError) as error:
        rig.do(retrieve)
    modules = {entry.frame.f_globals["__name__"].split(".")[0] for entry in error.traceback}
    assert modules.isdisjoint({"tenacity", "httpx", "httpcore"})
    assert error.value.__cause__.__traceback__ is None
    assert not error.value.ambiguous
