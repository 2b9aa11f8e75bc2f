import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
import respx

import preftune as pt

BASE = "http://hosted.test"
LONG = "ft-0c99d3ea-e2f1-4c0a-9a57-0a3e5d2f7b11"
MODEL = "meta-llama/Meta-Llama-3.1-405B-Instruct-Reference"


@pytest.fixture
def hosted(monkeypatch):
    """Return a function that has the hosted side answer a list of jobs, or something else."""
    monkeypatch.setenv("PREFTUNE_BASE_URL", BASE)
    monkeypatch.setenv("PREFTUNE_API_KEY", "key-of-the-user")
    with respx.mock:

        def hosted(*jobs, answer=None):
            answer = answer or httpx.Response(200, json={"data": [*jobs]})
            return respx.get(f"{BASE}/v1/fine-tunes").mock(answer)

        yield hosted


def job(number, **fields):
    return {
        "id": f"ft-{number}",
        "status": "completed",
        "model": "some/model",
        "created_at": f"2026-11-2{number}T08:46:16.472Z",
        "training_method": {"method": "dpo", "dpo_beta": 0.1},
        **fields,
    }


def test_the_jobs_stand_in_a_table_in_the_servers_order(run, hosted):
    hosted(job(2, status="running"), job(1, training_method={"method": "sft"}, model="a/longer-model"))
    code, out, err = run("jobs")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "job   status     method  created (UTC)     model",
        "ft-2  running    dpo     2026-11-22 08:46  some/model",
        "ft-1  completed  sft     2026-11-21 08:46  a/longer-model",
    ]


def test_the_server_is_asked_once_and_nothing_is_written(run, hosted, tmp_path, monkeypatch):
    monkeypatch.setenv("PREFTUNE_STATE_DIR", str(tmp_path / "state"))
    route = hosted()
    for arguments in (["jobs"], ["jobs", "--mine"], ["jobs", "--json"]):
        before = route.call_count
        assert run(*arguments)[0] == 0
        assert route.call_count == before + 1
    assert not (tmp_path / "state").exists()


def test_json_holds_everything_the_server_said(run, hosted):
    sent = job(1, total_price=5, new_field={"of": ["the", "server"]})
    hosted(sent)
    code, out, err = run("jobs", "--json")
    (told,) = json.loads(out)["jobs"]
    assert (code, err) == (0, "")
    assert {name: told[name] for name in sent} == sent | {"created_at": "2026-11-21T08:46:16.472000Z"}


def test_mine_are_those_that_this_machine_asked_for(run, hosted):
    hosted()
    respx.post(f"{BASE}/v1/fine-tunes").mock(httpx.Response(200, json=job(2)))
    with pt.Client() as client:
        client.fine_tuning.create(model="some/model", training_file="file-1")
    hosted(job(3), job(2), job(1))
    assert [line.split()[0] for line in run("jobs", "--mine")[1].splitlines()] == ["job", "ft-2"]
    assert [one["id"] for one in json.loads(run("jobs", "--mine", "--json")[1])["jobs"]] == ["ft-2"]
    assert len(run("jobs")[1].splitlines()) == 4


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "no jobs\n"),
        (["--mine"], "no job that this machine asked for; all jobs: preftune jobs\n"),
        (["--json"], '{\n  "version": 1,\n  "jobs": []\n}\n'),
        (["--mine", "--json"], '{\n  "version": 1,\n  "jobs": []\n}\n'),
    ],
)
def test_an_empty_list_is_told(run, hosted, arguments, told):
    hosted()
    assert run("jobs", *arguments) == (0, told, "")


def test_another_machines_jobs_are_not_mine(run, hosted):
    hosted(job(1))
    assert run("jobs", "--mine")[1] == "no job that this machine asked for; all jobs: preftune jobs\n"


@pytest.mark.parametrize(
    ("odd", "line"),
    [
        ({}, "-  -  -  -  -"),
        ({"id": None, "status": None, "created_at": None, "model": None, "training_method": None}, "-  -  -  -  -"),
        ({"id": "ft-1", "status": "new_word"}, "ft-1  new_word  -  -  -"),
        ({"id": "ft-1", "from_checkpoint": "ft-0:12"}, "ft-1  -  -  -  ft-0:12"),
        ({"id": "ft-1", "model": "", "from_checkpoint": "ft-0"}, "ft-1  -  -  -  ft-0"),
        ({"id": "ft-1", "created_at": "soon"}, "ft-1  -  -  soon  -"),
        ({"id": "ft-1", "created_at": "2026-11-23T01:30:00+02:00"}, "ft-1  -  -  2026-11-22 23:30  -"),
        ({"id": "ft-1", "created_at": "2026-11-23T01:30:00"}, "ft-1  -  -  2026-11-23 01:30  -"),
        ({"id": "ft-1", "training_method": "dpo"}, "ft-1  -  -  -  -"),
        ({"id": 7, "status": ["a"], "training_method": {"method": {"x": 1}}}, "7  ['a']  {'x': 1}  -  -"),
        ({"id": "ft-1", "model": "two\nlines\x1b[31mred"}, "ft-1  -  -  -  two?lines?[31mred"),
    ],
)
def test_whatever_the_server_says_of_a_job_has_its_line(run, hosted, odd, line):
    hosted(odd)
    code, out, err = run("jobs")
    assert (code, err) == (0, "")
    header, told = out.splitlines()
    assert re.split(" {2,}", header) == ["job", "status", "method", "created (UTC)", "model"]
    assert re.sub(" {2,}", "  ", told) == line
    assert run("jobs", "--json")[0] == 0


def test_in_a_pipe_each_job_is_one_line_that_is_never_cut(run, hosted):
    hosted(job(1, id=LONG, model=MODEL, status="cancel_requested"))
    (line,) = run("jobs")[1].splitlines()[1:]
    assert line.split() == [LONG, "cancel_requested", "dpo", "2026-11-21", "08:46", MODEL]


@pytest.fixture
def shown(terminal, monkeypatch):
    """Return a function that shows jobs in a terminal of 80 columns: a process of its own, so a server of its own."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps({"data": self.server.jobs}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("PREFTUNE_BASE_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("PREFTUNE_API_KEY", "k")

        def shown(*jobs):
            server.jobs = jobs
            return terminal("jobs")

        yield shown
        server.shutdown()
        thread.join()


def test_in_a_narrow_terminal_the_model_has_a_line_of_its_own_and_ids_stay_whole(shown):
    code, out = shown(job(2, id=LONG, model=MODEL), job(1, id=LONG.replace("0", "1"), status="user_error"))
    assert code == 0
    assert out.splitlines() == [
        "job                                      status      method  created (UTC)",
        "    model",
        f"{LONG}  completed   dpo     2026-11-22 08:46",
        f"    {MODEL}",
        f"{LONG.replace('0', '1')}  user_error  dpo     2026-11-21 08:46",
        "    some/model",
    ]
    assert max(map(len, out.splitlines())) <= 80


def test_a_table_that_fits_the_terminal_keeps_one_line_a_job(shown):
    assert [len(shown(job(1, model="m" * size))[1].splitlines()) for size in (37, 38)] == [2, 4]


@pytest.mark.parametrize("arguments", [[], ["--mine"], ["--json"]])
def test_without_a_key_it_is_said_what_to_set(run, monkeypatch, arguments):
    for name in ("PREFTUNE_API_KEY", "TOGETHER_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    code, out, err = run("jobs", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("preftune: ")
    assert "PREFTUNE_API_KEY" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (httpx.Response(401, json={"error": {"message": "no such key"}}), "GET /fine-tunes: 401, no such key; check "),
        (httpx.Response(200, text="<html>"), "GET /fine-tunes: "),
        (httpx.Response(400), "GET /fine-tunes: 400, no reason given"),
    ],
)
def test_what_the_server_refuses_is_one_sentence(run, hosted, answer, told):
    hosted(answer=answer)
    code, out, err = run("jobs")
    assert (code, out) == (2, "")
    assert err.startswith(f"preftune: {told}")
    assert err.count("\n") == 1


def test_a_server_that_is_down_is_one_sentence(run, monkeypatch):
    monkeypatch.setenv("PREFTUNE_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("PREFTUNE_API_KEY", "k")
    code, out, err = run("jobs")
    assert (code, out) == (2, "")
    assert re.fullmatch(r"preftune: GET /fine-tunes: [^\n]*127\.0\.0\.1:1[^\n]*\n", err)
