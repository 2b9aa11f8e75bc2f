import json
import logging
import random
import threading

import httpx
import pytest

from preftune import Client, LocalServer
from preftune.client.drivers import Blocking
from preftune.errors import FileProcessingError, InternalServerError
from preftune.local import limits, serve

BROKEN_OFF = (httpx.RemoteProtocolError, httpx.ReadError)  # which of them depends on what was still on its way
CONTENT = json.dumps({"text": random.Random(7).randbytes(200_000).hex()}).encode() + b"\n"


class _NoWorker:
    """A worker that is not there: most of these tests train nothing."""

    def __init__(self, store):
        self.wake = store.is_made

    def close(self):
        """Do nothing."""


@pytest.fixture
def server(request, monkeypatch):
    """Yield a real server: only one of sockets can break a connection off; it trains for slow tests alone."""
    if not request.node.get_closest_marker("slow"):
        monkeypatch.setattr(serve, "_Worker", _NoWorker)
    with LocalServer(api_key="local-gates") as running:
        yield running


@pytest.fixture
def http(server):
    with httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {server.api_key}"}) as plain:
        yield plain


@pytest.fixture
def client(server):
    """Yield a Client that rests for a moment where it would for a second."""
    rest = threading.Event()
    with Client(base_url=server.url, api_key=server.api_key) as hasty:
        hasty._driver = Blocking(hasty._connection, sleep=lambda seconds: rest.wait(min(seconds, 0.01)))
        yield hasty


@pytest.fixture
def file(server, pairs):
    """Return the id of a file of pairs that has been read."""
    with Client(base_url=server.url, api_key=server.api_key, state_dir="") as sure:
        content = b"".join(json.dumps(row).encode() + b"\n" for row in pairs(12))
        return sure.files.wait(sure.files.upload(content, name="pairs.jsonl"), poll_interval=0.01).id


def stored(http):
    """Return the id of a file whose content is known."""
    answer = http.post("/v1/files/upload", files={"file": ("a.jsonl", CONTENT)}, data={"purpose": "eval"})
    return answer.json()["id"]


def said(request):
    """Return what the record says of a request, without what differs from run to run."""
    return request.method, request.path, request.query, request.status


def read_until_it_breaks(http, path, **more):
    """Return the status, the length that was promised, and the bytes that came before the connection broke off."""
    came = b""
    with http.stream("GET", path, **more) as answer:
        try:
            for chunk in answer.iter_raw():
                came += chunk
        except httpx.RemoteProtocolError:
            return answer.status_code, int(answer.headers["content-length"]), came
    raise AssertionError(f"it did not break off: {answer.status_code}, {len(came)} bytes")


# faults of requests, to a plain client


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (404, "not_found_error"),
        (409, "conflict_error"),
        (418, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "server_error"),
        (503, "server_error"),
    ],
)
def test_a_status_on_command_is_answered_in_the_envelope_of_errors(local, status, kind):
    rule = local.options.faults.add(f"POST /files {status}")
    answer = local.call("POST", "/v1/files", data={"file_name": "a.jsonl"})
    message = f"a fault on command: POST /files {status}"
    assert answer.status_code == status
    assert answer.json() == {"error": {"message": message, "type": kind, "param": None, "code": None}}
    assert "retry-after" not in answer.headers
    assert (local.get("/v1/files")["data"], rule.acted) == ([], 1)


@pytest.mark.parametrize(("asked", "header"), [("2", "2"), ("0", "0"), ("0.5", "0.5"), ("3600.0", "3600")])
def test_a_status_on_command_carries_its_retry_after(local, asked, header):
    local.options.faults.add(f"/files 429 retry-after={asked}")
    answer = local.call("GET", "/v1/files")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, header)


def test_a_request_without_the_key_uses_no_fault_up(local):
    local.options.faults.add("/files 503 once")
    assert [local.call("GET", "/v1/files", **sent).status_code for sent in ({"key": None}, {}, {})] == [401, 503, 200]


@pytest.mark.parametrize("root", ["/v1", "/v1/v1"])
def test_a_fault_acts_under_both_roots(local, root):
    local.options.faults.add("GET /files 503 once")
    assert [local.call("GET", f"{root}/files").status_code for _ in range(2)] == [503, 200]


def test_a_dropped_request_has_no_answer_and_no_effect(server, http, file):
    server.faults.add("POST /fine-tunes drop once")
    with pytest.raises(BROKEN_OFF):
        http.post("/v1/fine-tunes", json={"model": "m", "training_file": file})
    assert http.get("/v1/fine-tunes").json()["data"] == []


def test_a_dropped_upload_has_no_answer_and_can_be_sent_again(server, http):
    server.faults.add("PUT /storage/* drop once")
    place = http.post("/v1/files", data={"file_name": "a.jsonl", "purpose": "eval"}).headers["location"]
    with pytest.raises(httpx.TransportError):
        httpx.put(place, content=50 * CONTENT)
    assert httpx.put(place, content=50 * CONTENT).status_code == 200


def test_a_lost_answer_leaves_the_job_that_was_created(server, http, file):
    server.faults.add("POST /fine-tunes lose once")
    asked = {"model": "m", "training_file": file, "training_method": {"method": "dpo"}}
    with pytest.raises(BROKEN_OFF):
        http.post("/v1/fine-tunes", json=asked)
    (job,) = http.get("/v1/fine-tunes").json()["data"]
    assert (job["training_file"], job["training_method"]["method"]) == (file, "dpo")


def test_a_lost_deletion_is_a_deletion(server, http, file):
    server.faults.add("DELETE /files/* lose once")
    with pytest.raises(BROKEN_OFF):
        http.delete(f"/v1/files/{file}")
    assert http.get(f"/v1/files/{file}").status_code == 404


@pytest.mark.parametrize(
    ("action", "length"),
    [("truncate", len(CONTENT) // 2), ("truncate=0", 0), ("truncate=1", 1), ("truncate=100000", 100_000)],
)
def test_a_truncated_download_breaks_off_after_half_or_after_so_many_bytes(server, http, action, length):
    path = f"/v1/files/{stored(http)}/content"
    server.faults.add(f"GET /files/*/content {action} once")
    assert read_until_it_breaks(http, path) == (200, len(CONTENT), CONTENT[:length])
    assert http.get(path).content == CONTENT


def test_a_truncated_range_is_cut_within_the_range(server, http):
    path = f"/v1/files/{stored(http)}/content"
    server.faults.add("GET /files/*/content truncate once")
    came = read_until_it_breaks(http, path, headers={"range": "bytes=1000-1999"})
    assert came == (206, 1000, CONTENT[1000:1500])


def test_an_answer_that_is_shorter_than_where_it_would_be_cut_arrives_whole(server, http):
    server.faults.add("GET /files truncate=1000000")
    apart = {"connection": "close"}  # the server closes it after each answer, which a client may not have seen yet
    assert [http.get("/v1/files", headers=apart).json() for _ in range(2)] == 2 * [{"object": "list", "data": []}]


def test_a_slow_request_is_answered_as_any_other(server, http, file):
    at_once = http.get(f"/v1/files/{file}").json()
    rule = server.faults.add("GET /files/* slow=0.01")
    assert (http.get(f"/v1/files/{file}").json(), rule.acted) == (at_once, 1)


def test_a_request_can_be_slower_than_its_client_is_patient(server, http):
    server.faults.add("GET /files slow=0.5 once")
    with pytest.raises(httpx.ReadTimeout):
        http.get("/v1/files", timeout=0.05)
    assert http.get("/v1/files").status_code == 200


def test_other_requests_are_answered_while_a_slow_one_waits(server, http, eventually):
    server.faults.add("GET /files slow=1 once")
    finished = []
    waiting = threading.Thread(target=lambda: finished.append(("files", http.get("/v1/files").status_code)))
    waiting.start()
    eventually(lambda: next(iter(server.faults)).acted)
    finished.append(("jobs", http.get("/v1/fine-tunes").status_code))
    waiting.join(20)
    assert finished == [("jobs", 200), ("files", 200)]


def test_rules_come_and_go_while_the_server_runs(server, http):
    seen = [http.get("/v1/files").status_code]
    rule = server.faults.add("GET /files 500")
    seen += [http.get("/v1/files").status_code for _ in range(2)]
    server.faults.remove(rule)
    seen.append(http.get("/v1/files").status_code)
    server.faults.add("* 503")
    seen.append(http.get("/v1/files").status_code)
    server.faults.clear()
    seen.append(http.get("/v1/files").status_code)
    assert (seen, rule.acted) == ([200, 500, 500, 200, 503, 200], 2)


def test_a_broken_off_request_is_no_failure_of_the_server(server, http, capfd):
    for action in ("drop", "lose", "truncate"):
        server.faults.add(f"GET /files {action} once")
    for _ in range(3):
        with pytest.raises(BROKEN_OFF):
            http.get("/v1/files")
    assert http.get("/v1/files").status_code == 200
    assert capfd.readouterr() == ("", "")


def test_a_server_that_ends_while_a_slow_request_waits_says_nothing(capfd):
    with LocalServer() as server:
        server.faults.add("* slow=30")
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(server.url, headers={"authorization": f"Bearer {server.api_key}"}, timeout=0.05)
    assert capfd.readouterr() == ("", "")


# faults of requests, to our client


def train(client, file, **more):
    return client.fine_tuning.create(model="m", training_file=file, training_method="dpo", **more)


@pytest.mark.parametrize("rule", ["500 once", "drop times 2", "lose once", "lose times 2", "truncate once"])
def test_a_creation_makes_one_job_whatever_becomes_of_its_answer(server, client, file, rule):
    rule = server.faults.add(f"POST /fine-tunes {rule}")
    job = train(client, file)
    assert [each.id for each in client.fine_tuning.list()] == [job.id]
    assert rule.acted > 0


@pytest.mark.parametrize("action", ["429 retry-after=0", "500", "drop", "lose", "truncate", "slow=0.01"])
def test_an_upload_arrives_through_faults_of_each_of_its_steps(server, client, tmp_path, pairs, action):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in pairs(5)))
    for step in ("POST /files", "PUT /storage/*", "POST /files/*/preprocess"):
        server.faults.add(f"{step} {action} once")
    sent = client.files.wait(client.files.upload(path), poll_interval=0.01)
    assert client.files.content(sent) == path.read_bytes()
    assert [rule.acted for rule in server.faults] == [1, 1, 1]
    assert sent.processing_status == "COMPLETED"


@pytest.mark.slow
@pytest.mark.parametrize("action", ["429 retry-after=0", "500", "drop", "lose", "truncate", "truncate=1"])
def test_a_stream_delivers_each_row_once_through_faults(server, client, file, action):
    for path in ("*/metrics", "*/events", "/fine-tunes/*"):
        server.faults.add(f"GET {path} {action} every 2")
    job = train(client, file, n_epochs=4, n_evals=2, validation_file=file, batch_size=2)
    rows = list(client.fine_tuning.stream_metrics(job, poll_interval=0.01))
    server.faults.clear()
    assert [row.key for row in rows if row.split == "train"] == [(step, "train") for step in range(1, 25)]
    assert rows == client.fine_tuning.list_metrics(job)


@pytest.mark.parametrize("action", ["503", "drop", "truncate", "truncate=1", "truncate=5000"])
def test_a_download_is_whole_through_faults(server, client, http, tmp_path, action):
    file_id = stored(http)
    rule = server.faults.add(f"GET /files/*/content {action} every 2")
    assert client.files.download(file_id, to=tmp_path / "a.jsonl").read_bytes() == CONTENT
    assert rule.acted > 0


@pytest.mark.slow
def test_a_checkpoint_is_whole_after_a_truncated_download(server, client, file, tmp_path):
    job = client.fine_tuning.wait(train(client, file), poll_interval=0.01)
    whole = client.fine_tuning.download(job, to=tmp_path / "whole", extract=False).read_bytes()
    rule = server.faults.add("GET /finetune/download truncate times 2")
    mended = client.fine_tuning.download(job, to=tmp_path / "mended", extract=False).read_bytes()
    assert (mended == whole, rule.acted) == (True, 2)


def test_a_fault_that_stays_is_told_as_the_servers_own_words(server, client, eventually):
    server.faults.add("GET /fine-tunes 500")
    with pytest.raises(InternalServerError) as error:
        client.fine_tuning.list()
    assert str(error.value) == "GET /fine-tunes: 500, a fault on command: GET /fine-tunes 500"
    eventually(lambda: [said(each) for each in server.requests] == 3 * [("GET", "/v1/fine-tunes", {}, 500)])


# faults of files


def test_a_good_file_is_refused_on_command_and_the_next_is_not(server, client, pairs):
    server.faults.add("invalid-format once")
    first, second = (client.files.upload(json.dumps(row).encode(), name="a.jsonl") for row in pairs(2))
    with pytest.raises(FileProcessingError, match="a fault on command: invalid-format") as error:
        client.files.wait(first, poll_interval=0.01)
    assert client.files.retrieve(first).processing_status == "INVALID_FORMAT"
    assert error.value.report.valid is False
    assert client.files.wait(second, poll_interval=0.01).processing_status == "COMPLETED"


# the record


def test_the_record_says_of_each_request_what_was_asked_and_how_it_was_answered(local):
    local.call("GET", "/v1/fine-tunes/models/limits", params={"model_name": "a/b c", "x": "ä"})
    local.call("POST", "/v1/fine-tunes", json={"model": "m", "training_file": "file-1"})
    local.call("DELETE", "/v1/files/file-1")
    local.call("GET", "/v1/files", key=None)
    local.call("PATCH", "/v1/files")
    assert [said(request) for request in local.options.requests] == [
        ("GET", "/v1/fine-tunes/models/limits", {"model_name": "a/b c", "x": "ä"}, 200),
        ("POST", "/v1/fine-tunes", {}, 400),
        ("DELETE", "/v1/files/file-1", {}, 404),
        ("GET", "/v1/files", {}, 401),
        ("PATCH", "/v1/files", {}, 405),
    ]
    assert local.options.requests[1].json == {"model": "m", "training_file": "file-1"}
    assert [request.body for request in local.options.requests if request.method != "POST"] == 4 * [b""]
    assert all(request.seconds >= 0 for request in local.options.requests)


def test_the_record_holds_no_key(local):
    local.call("GET", "/v1/files", headers={"X-Run": "7"})
    local.call("GET", "/v1/files", key="another-key")
    first, second = local.options.requests
    assert (first.headers["x-run"], "authorization" in first.headers, "authorization" in second.headers) == (
        "7",
        False,
        False,
    )
    assert "local-test" not in repr(first)
    assert "another-key" not in repr(second)


def test_the_record_holds_nothing_of_what_is_put_to_storage(local, pairs):
    local.upload(pairs(3))
    puts = [(request.status, request.body) for request in local.options.requests if request.method == "PUT"]
    assert puts == [(200, b"")]
    assert "is fine." not in repr(local.options.requests)


def test_the_record_holds_nothing_of_a_file_that_comes_in_a_form(local):
    sent = {"file": ("a.jsonl", b'{"text": "of the file"}\n')}
    assert local.call("POST", "/v1/files/upload", files=sent).status_code == 200
    assert "of the file" not in repr(local.options.requests)


def test_the_record_keeps_the_beginning_of_a_large_body(local):
    body = json.dumps({"suffix": 100_000 * "x"}).encode()
    local.call("POST", "/v1/fine-tunes", content=body)
    assert local.options.requests[0].body == body[: 64 * 2**10]


def test_the_record_says_none_for_an_answer_that_was_never_sent(server, http, eventually):
    server.faults.add("GET /files drop once")
    server.faults.add("GET /files lose once")
    for _ in range(2):
        with pytest.raises(BROKEN_OFF):
            http.get("/v1/files")
    http.get("/v1/files")
    eventually(lambda: [request.status for request in server.requests] == [None, None, 200])


def test_a_request_stands_in_the_record_when_its_answer_is_there(server, http):
    for number in range(1, 101):
        http.get("/v1/files")
        assert len(server.requests) == number


def test_the_record_says_500_for_a_route_that_fails(local, store, monkeypatch, caplog):
    monkeypatch.setattr(store, "files", lambda: 1 / 0)
    assert local.call("GET", "/v1/files").status_code == 500
    assert [said(request) for request in local.options.requests] == [("GET", "/v1/files", {}, 500)]


def test_the_record_of_a_server_is_a_list_of_its_own(server, http, eventually):
    http.get("/v1/files")
    server.requests.clear()
    eventually(lambda: [said(request) for request in server.requests] == [("GET", "/v1/files", {}, 200)])


# the log


def test_changes_and_failures_are_logged_for_users_and_readings_for_the_curious(local, caplog):
    caplog.set_level(logging.DEBUG, "preftune.local")
    local.call("GET", "/v1/files")
    local.call("HEAD", "/v1/files")
    local.call("GET", "/v1/files/file-1")
    local.call("POST", "/v1/files", data={"file_name": "a.jsonl"})
    local.call("DELETE", "/v1/files/file-1", key=None)
    assert [(record[1], record[2]) for record in caplog.record_tuples if record[0] == "preftune.local"] == [
        (logging.DEBUG, "GET /v1/files 200"),
        (logging.DEBUG, "HEAD /v1/files 200"),
        (logging.INFO, "GET /v1/files/file-1 404"),
        (logging.INFO, "POST /v1/files 302"),
        (logging.INFO, "DELETE /v1/files/file-1 401"),
    ]


def test_a_request_that_was_broken_off_is_logged_as_that(server, http, caplog, eventually):
    caplog.set_level(logging.INFO, "preftune.local")
    server.faults.add("GET /files drop once")
    with pytest.raises(BROKEN_OFF):
        http.get("/v1/files")
    eventually(lambda: ("preftune.local", logging.INFO, "GET /v1/files broken off") in caplog.record_tuples)


def test_no_log_line_holds_a_key_a_query_or_a_body(local, caplog):
    caplog.set_level(logging.DEBUG, "preftune.local")
    local.upload(b'{"text": "of the file"}\n')
    local.call("POST", "/v1/fine-tunes", json={"wandb_api_key": "secret"}, params={"a": "in-the-query"})
    for hidden in ("local-test", "signature", "of the file", "secret", "in-the-query"):
        assert hidden not in caplog.text


# the key


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer local-tes",
        "Bearer local-testt",
        "Basic local-test",
        "local-test",
        b"\xff",
    ],
)
def test_without_the_key_nothing_is_answered_and_nothing_is_done(local, header):
    headers = {} if header is None else {"authorization": header}
    answer = local.call("POST", "/v1/files", key=None, headers=headers, data={"file_name": "a.jsonl"})
    assert answer.status_code == 401
    assert answer.json() == {
        "error": {
            "message": "the API key is missing or wrong",
            "type": "authentication_error",
            "param": None,
            "code": None,
        }
    }
    assert local.store.files() == []


@pytest.mark.parametrize("path", ["/v1/files", "/v1/v1/files", "/v3/whoami", "/v1/fine-tunes/models/supported"])
def test_with_the_key_every_root_answers(local, path):
    assert [local.call("GET", path, key=key).status_code for key in ("local-test", None)] == [200, 401]


@pytest.mark.parametrize("path", ["/", "/nowhere", "/v1/storage/files/file-1", "/v1/openapi.json", "//storage/x"])
def test_without_the_key_it_is_not_even_said_what_is_there(local, path):
    assert local.call("GET", path, key=None).status_code == 401


def test_the_description_needs_no_key(local):
    assert local.call("GET", "/openapi.json", key=None).json()["openapi"] == "3.1.0"


def test_a_storage_address_needs_its_signature_and_no_key(local):
    place = local.call("POST", "/v1/files", data={"file_name": "a.jsonl", "purpose": "eval"}).headers["location"]
    unsigned = place.partition("?")[0]
    assert [local.call("PUT", at, key=None, content=b"a").status_code for at in (unsigned, place)] == [403, 200]
    assert local.call("PUT", unsigned, content=b"a").status_code == 403


# the bound on a body


def refused(answer):
    return answer.status_code, answer.json()["error"]["message"]


def announced(size):
    """Return a body that says its length, and one that does not."""
    return b" " * size, iter([b" " * (size // 2), b" " * (size - size // 2)])


@pytest.mark.parametrize("path", ["/v1/fine-tunes", "/v1/fine-tunes/estimate-price"])
def test_a_body_of_json_has_a_bound_whether_its_length_is_said_or_not(local, path):
    most = limits.MAX_BODY
    for body in announced(most + 1):
        answer = local.call("POST", path, content=_sent(body))
        assert refused(answer) == (413, f"the body is larger than {most} bytes")
    for body in announced(most):
        assert refused(local.call("POST", path, content=_sent(body)))[0] == 400


def test_a_file_has_a_bound_of_its_own(local, monkeypatch):
    monkeypatch.setattr(limits, "MAX_FILE", limits.MAX_BODY + 10)
    fields = {"file_name": "a.jsonl", "purpose": "eval"}
    places = [local.call("POST", "/v1/files", data=fields).headers["location"] for _ in range(3)]
    too_long, unsaid = announced(limits.MAX_FILE + 1)
    answers = [
        local.call("PUT", place, key=None, content=_sent(body))
        for place, body in zip(places, (too_long, unsaid, too_long[1:]), strict=True)
    ]
    assert [answer.status_code for answer in answers] == [413, 413, 200]
    assert refused(answers[0])[1] == f"the body is larger than {limits.MAX_FILE} bytes"


def test_a_form_has_the_bound_of_files(local, monkeypatch):
    monkeypatch.setattr(limits, "MAX_FILE", limits.MAX_BODY + 1000)
    statuses = [
        local.call("POST", "/v1/files/upload", files={"file": ("a.jsonl", size * b" ")}, data={"purpose": "eval"})
        for size in (limits.MAX_BODY + 1, limits.MAX_FILE)
    ]
    assert [answer.status_code for answer in statuses] == [200, 413]


def _sent(body):
    if isinstance(body, bytes):
        return body

    async def pieces():
        for piece in body:
            yield piece

    return pieces()


# secrets


def test_the_record_hides_keys_cookies_and_signatures(local):
    headers = {"x-api-key": "secret", "cookie": "a=secret", "proxy-authorization": "secret", "idempotency-key": "one"}
    local.call("GET", "/storage/tokens/ft-1", params={"signature": "secret", "expires": "5"}, headers=headers)
    seen = local.options.requests[-1]
    assert {name: seen.headers.get(name) for name in (*headers, "authorization")} == {
        "x-api-key": "***", "cookie": "***", "proxy-authorization": "***", "idempotency-key": "one",
        "authorization": None,
    }  # fmt: skip
    assert seen.query == {"signature": "***", "expires": "5"}


def test_the_record_hides_the_keys_in_a_body(local):
    given = {"model": "m", "wandb_key": 'se"cret', "wandb_api_key": ["secret"], "hf_api_token": 12345, "suffix": "s"}
    local.call("POST", "/v1/fine-tunes", content=json.dumps(given).replace("wandb_key", "wandb_\\u006bey"))
    hidden = dict.fromkeys(("wandb_key", "wandb_api_key", "hf_api_token"), "***")
    assert local.options.requests[-1].json == given | hidden


def test_the_record_hides_a_key_that_it_keeps_a_part_of(local):
    local.call("POST", "/v1/fine-tunes", json={"suffix": "x" * (64 * 2**10 - 40), "wandb_key": "secret" * 9})
    assert b"secret" not in local.options.requests[-1].body


def test_a_server_and_its_record_show_no_secret(local):
    local.call("POST", "/v1/fine-tunes", json={"model": "private"})
    assert "private" not in repr(local.options.requests[-1])
    assert local.options.api_key not in repr(local.options)


def test_a_path_cannot_break_a_line_of_the_log(local, caplog):
    caplog.set_level(logging.INFO, "preftune.local")
    local.call("GET", "/v1/files/a%0Aforged")
    assert [one.getMessage() for one in caplog.records] == ["GET /v1/files/a%0Aforged 404"]
