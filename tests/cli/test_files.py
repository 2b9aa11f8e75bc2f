import json

import pytest


def told(run, *arguments):
    code, out, err = run("files", *arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


@pytest.fixture
def uploaded(run, write, good, preftune_environment, preftune_client):
    """Upload a file of pairs of this test's own, and return its id."""
    code, out, _ = run("files", "upload", write(good(f"Where is {write}?")))
    assert code == 0
    yield out.strip()
    if out.strip() in {file.id for file in preftune_client.files.list()}:
        preftune_client.files.delete(out.strip())


def test_a_file_is_uploaded_and_its_id_printed(run, uploaded):
    assert uploaded.startswith("file-")
    listed = [line.split() for line in run("files", "list")[1].splitlines()]
    assert listed[0] == ["file", "status", "bytes", "purpose", "name"]
    assert [(line[0], line[1], line[4]) for line in listed if line[0] == uploaded] == [
        (uploaded, "COMPLETED", "pairs.jsonl")
    ]


def test_a_file_that_is_there_is_not_sent_again(run, uploaded):
    assert run("files", "upload", "pairs.jsonl") == (0, f"{uploaded}\n", "")


def test_a_file_that_is_refused_is_an_error_with_line_and_reason(run, write, preftune_environment):
    code, out, err = run("files", "upload", write({"text": "a"}, {"text": 5}))
    assert (code, out) == (2, "")
    assert "Line 2: text is a number; it must be text" in err


def test_a_file_is_shown_with_what_was_found_in_it(run, uploaded):
    shown = dict(line.split(maxsplit=1) for line in run("files", "show", uploaded)[1].splitlines())
    assert (shown["file"], shown["format"], shown["rows"]) == (uploaded, "preference_openai", "1")
    assert "refused" not in shown


def test_what_a_file_was_refused_for_is_shown(run, monkeypatch, hosted_file):
    hosted_file(processing_status="INVALID_FORMAT", validation_report={"valid": False, "error": "Line 7: no."})
    assert "refused  Line 7: no.\n" in run("files", "show", "file-1")[1]


def test_a_file_without_a_report_is_shown_as_far_as_it_goes(run, hosted_file):
    hosted_file(processing_status="PENDING")
    assert run("files", "show", "file-1")[1].splitlines()[:2] == ["file     file-1", "status   PENDING"]


@pytest.fixture
def hosted_file(answering):
    """Return a function that has the hosted side tell of a file."""
    import httpx

    def hosted_file(**fields):
        url = "http://hosted.test/v1/files/file-1"
        answering().get(url).mock(httpx.Response(200, json={"id": "file-1"} | fields))

    return hosted_file


def test_a_file_is_downloaded_under_its_name(run, folder, uploaded):
    code, out, _ = run("files", "download", uploaded)
    assert (code, (folder / out.strip()).read_bytes()) == (0, (folder / "pairs.jsonl").read_bytes())
    assert out.strip() != "pairs.jsonl"


def test_a_file_is_deleted_once_that_is_confirmed(run, uploaded, monkeypatch):
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert run("files", "delete", uploaded)[0] == 130
    assert run("files", "delete", uploaded, "--yes") == (0, f"{uploaded}: deleted\n", "")
    assert run("files", "show", uploaded)[0] == 2


def test_no_files_are_told(run, answering):
    import httpx

    answering().get("http://hosted.test/v1/files").mock(httpx.Response(200, json={"data": []}))
    assert run("files", "list") == (0, "no files\n", "")


def test_json_has_the_servers_objects(run, uploaded, folder):
    assert uploaded in [file["id"] for file in told(run, "list")["files"]]
    assert told(run, "show", uploaded)["file"]["id"] == uploaded
    assert told(run, "upload", "pairs.jsonl")["file"]["id"] == uploaded
    assert told(run, "download", uploaded, "-o", "copy.jsonl") == {"version": 1, "file": uploaded, "path": "copy.jsonl"}
    assert told(run, "delete", uploaded, "--yes") == {"version": 1, "file": uploaded, "deleted": True}


def test_a_terminal_shows_how_far_a_transfer_is(terminal, preftune_environment, write, good):
    code, shown = terminal("files", "upload", write(good("How far is it?"), name="far.jsonl"))
    assert code == 0
    assert "far.jsonl" in shown
    assert "100%" in shown
