import json

import pytest

JOB = {"id": "ft-1", "status": "running", "steps_completed": 3, "total_steps": 9}


@pytest.fixture
def hosted(answering):
    return answering(GET_=JOB, POST_cancel=JOB | {"status": "cancel_requested"})


def cancelled(router):
    return [call.request.url.path for call in router.calls if call.request.method == "POST"]


def test_a_job_is_cancelled(run, hosted):
    assert run("cancel", "ft-1", "--yes") == (0, "ft-1: cancel_requested\n", "")
    assert cancelled(hosted) == ["/v1/fine-tunes/ft-1/cancel"]


@pytest.mark.parametrize(("answer", "code", "asked"), [("y\n", 0, 1), ("n\n", 130, 0), ("", 130, 0)])
def test_it_asks_first(run, hosted, monkeypatch, answer, code, asked):
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    found, _, err = run("cancel", "ft-1")
    assert (found, len(cancelled(hosted))) == (code, asked)
    assert "Cancel ft-1 (running, step 3 of 9)? [y/N]" in err


def test_json_has_the_job(run, hosted):
    told = json.loads(run("cancel", "ft-1", "--yes", "--json")[1])
    assert (told["version"], told["job"]["status"]) == (1, "cancel_requested")
