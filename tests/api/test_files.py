import pytest

from preftune.api import files
from preftune.api.models import DeletedFile, File
from preftune.api.steps import Now, Request, Response, Sleep
from preftune.errors import APIResponseValidationError, APITimeoutError, ConfigError, FileProcessingError, NotFoundError

READ = Request("GET", "/files/file-1")


def test_list_returns_the_files_in_the_servers_order(play):
    played = play(files.list(), (Request("GET", "/files"), {"data": [{"id": "b"}, {"id": "a"}]}))
    assert played.result == [File(id="b"), File(id="a")]


@pytest.mark.parametrize("answer", [{}, [], {"data": None}, b""])
def test_an_empty_list_comes_in_several_forms(play, answer):
    assert play(files.list(), (Request("GET", "/files"), answer)).result == []


@pytest.mark.parametrize("answer", [{"data": {"id": "a"}}, {"data": ["a"]}, b"7", b"<html>", b"[" * 100_000])
def test_an_answer_that_is_no_list_is_refused(play, answer):
    with pytest.raises(APIResponseValidationError, match=r"GET /files: 200, .*; is base_url an API of this kind\?"):
        play(files.list(), (Request("GET", "/files"), answer))


def test_retrieve_takes_an_id_or_a_file(play):
    for file in ("file-1", File(id="file-1")):
        assert play(files.retrieve(file), (READ, {"id": "file-1"})).result == File(id="file-1")


@pytest.mark.parametrize("given", ["", ".", "..", None, 7, File(), File(id=7)])
def test_what_is_no_id_is_refused_before_anything_is_sent(play, given):
    with pytest.raises(ConfigError, match="file: expected an id or an object that has one, found "):
        play(files.retrieve(given))


def test_an_id_is_quoted_in_its_path(play):
    play(files.retrieve("a/../b?c#d e"), (Request("GET", "/files/a%2F..%2Fb%3Fc%23d%20e"), {}))


def test_delete_says_what_was_deleted(play):
    played = play(files.delete("file-1"), (Request("DELETE", "/files/file-1"), {"id": "file-1", "deleted": True}))
    assert played.result == DeletedFile(id="file-1", deleted=True)


def test_content_returns_the_bytes(play):
    request = Request("GET", "/files/file-1/content", headers={"accept": "application/binary"})
    assert play(files.content("file-1"), (request, b"\x00\xff")).result == b"\x00\xff"


def test_a_flow_is_a_plain_generator():
    flow = files.retrieve("file-1")
    assert next(flow) == READ
    with pytest.raises(StopIteration) as end:
        flow.send(Response(200, {}, b'{"id": "file-1"}', READ))
    assert end.value.value == File(id="file-1")


# wait


def test_wait_returns_the_file_once_it_is_read(play, dropped):
    played = play(
        files.wait("file-1", poll_interval=2),
        (READ, {"id": "file-1", "processing_status": "QUEUED"}),
        (Sleep(2), None),
        (READ, dropped()),
        (Now(), 0.0),
        (Sleep(0.5), None),
        (READ, {"id": "file-1", "processing_status": "completed"}),
    )
    assert played.result == File(id="file-1", processing_status="completed")


def test_wait_gives_up_after_its_time(play):
    with pytest.raises(APITimeoutError) as error:
        play(
            files.wait("file-1", timeout=5),
            (Now(), 10.0),
            (READ, {"id": "file-1", "processing_status": "RUNNING"}),
            (Now(), 14.9),
            (Sleep(0.05), None),
            (READ, {"id": "file-1", "processing_status": "RUNNING"}),
            (Now(), 15.0),
        )
    assert str(error.value) == (
        "file file-1: expected it to be read within 5 s, found RUNNING; "
        "wait again, or look at it with client.files.retrieve()"
    )


def test_wait_gives_up_after_its_time_although_no_answer_comes(world, dropped):
    place = world(lambda request: dropped())
    with pytest.raises(type(dropped())):
        place.run(files.wait("file-1", timeout=20))
    assert 20 <= place.now < 30


@pytest.mark.parametrize(
    ("answer", "sentence", "report"),
    [
        (
            {"validation_report": {"error": "line 3 is no JSON", "nlines": 7}},
            "file file-1 (p.jsonl): INVALID_FORMAT, line 3 is no JSON; mend it and upload it again",
            {"error": "line 3 is no JSON", "nlines": 7},
        ),
        (
            {},
            "file file-1 (p.jsonl): INVALID_FORMAT, the server gave no reason; mend it and upload it again",
            None,
        ),
        (
            {"validation_report": "odd"},
            "file file-1 (p.jsonl): INVALID_FORMAT, odd; mend it and upload it again",
            "odd",
        ),
    ],
)
def test_wait_raises_with_the_report_of_a_refused_file(play, answer, sentence, report):
    with pytest.raises(FileProcessingError) as error:
        play(
            files.wait("file-1"),
            (READ, {"id": "file-1", "filename": "p.jsonl", "processing_status": "INVALID_FORMAT", **answer}),
        )
    found = error.value.report
    assert str(error.value) == sentence
    assert (found.model_dump(exclude_unset=True) if isinstance(report, dict) else found) == report


def test_wait_does_not_bear_a_missing_file(play, refused):
    with pytest.raises(NotFoundError):
        play(files.wait("file-1"), (READ, refused(404)), (Now(), 0.0))
