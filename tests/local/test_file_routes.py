import asyncio
import hashlib
import re
import threading

import httpx
import pytest

from preftune.local import file_routes, limits, validate
from preftune.local.app import make_app
from preftune.local.faults import Faults
from preftune.local.options import Options

KEY = "local-test"


def fault(answer):
    """Return status and the facts of an error, after a look at its envelope."""
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert error["type"]
    return answer.status_code, error["type"], error["param"]


def digest(content):
    return hashlib.sha256(content).hexdigest()


def opened(local, **fields):
    fields = {"file_name": "pairs.jsonl"} | fields
    return local.call("POST", "/v1/files", files={name: (None, value) for name, value in fields.items()})


def sent(local, content, path="/v1/files/upload", name="pairs.jsonl", **fields):
    return local.call("POST", path, files={"file": (name, content)}, data=fields)


def read(local, file_id, eventually):
    """Return a file once it has been read."""
    return eventually(lambda: (one := local.get(f"/v1/files/{file_id}"))["processing_status"] == "COMPLETED" and one)


def kept(store, folder="files"):
    """Return the names of all that lies in a folder of the store."""
    return sorted(path.name for path in (store.folder / folder).rglob("*"))


@pytest.fixture
def make_local(local, store):
    """Return the maker of an application of its own over the same store."""
    made = []

    def make(**options):
        made.append(type(local)(store, **options))
        return made[-1]

    yield make
    for one in made:
        asyncio.run(end(one.app))


async def end(app):
    async with app.router.lifespan_context(app):
        pass


# in three steps


def test_an_upload_begins_with_a_place_and_an_id(local):
    answer = opened(local, purpose="fine-tune", file_type="jsonl", checksum="00" * 32)
    file_id = answer.headers["x-together-file-id"]
    assert (answer.status_code, answer.content) == (302, b"")
    assert re.fullmatch(r"file-[0-9a-f-]{36}", file_id)
    address = rf"http://local/storage/files/{file_id}\?expires=\d+&signature=[0-9a-f]{{64}}"
    assert re.fullmatch(address, answer.headers["location"])
    assert local.get(f"/v1/files/{file_id}")["processing_status"] == "PENDING"


@pytest.mark.parametrize(
    "given",
    [
        {"data": {"file_name": "a.jsonl", "purpose": "eval"}},
        {"files": {"file_name": (None, "a.jsonl"), "purpose": (None, "eval")}},
        {"params": {"file_name": "a.jsonl", "purpose": "eval"}},
        {"params": {"file_name": "b.jsonl"}, "data": {"file_name": "a.jsonl", "purpose": "eval"}},
    ],
    ids=["urlencoded", "multipart", "query", "query and urlencoded"],
)
def test_the_fields_of_an_upload_may_come_in_any_form(local, given):
    answer = local.call("POST", "/v1/files", **given)
    record = local.get(f"/v1/files/{answer.headers['x-together-file-id']}")
    shown = (answer.status_code, record["filename"], record["purpose"], record["FileType"])
    assert shown == (302, "a.jsonl", "eval", "jsonl")


@pytest.mark.parametrize(
    ("fields", "purpose", "file_type"),
    [
        ({"file_name": "pairs"}, "fine-tune", "jsonl"),
        ({"file_name": "pairs", "file_type": "", "purpose": "", "checksum": ""}, "fine-tune", "jsonl"),
        ({"file_name": "pairs.jsonl", "file_type": "parquet"}, "fine-tune", "parquet"),
        ({"file_name": "pairs.parquet"}, "fine-tune", "jsonl"),
        ({"file_name": "table.csv", "file_type": "csv", "purpose": "eval"}, "eval", "csv"),
    ],
)
def test_purpose_and_type_have_defaults(local, fields, purpose, file_type):
    shown = local.get(f"/v1/files/{opened(local, **fields).headers['x-together-file-id']}")
    assert (shown["purpose"], shown["FileType"]) == (purpose, file_type)


REFUSED = [
    ({"checksum": "0" * 63}, "checksum"),
    ({"checksum": "g" * 64}, "checksum"),
    ({"checksum": f"sha256:{'0' * 64}"}, "checksum"),
    ({"file_name": "/"}, "file_name"),
    ({"file_name": "a/.."}, "file_name"),
    ({"file_name": "a\nb.jsonl"}, "file_name"),
    ({"file_name": "a\x7f.jsonl"}, "file_name"),
    ({"file_name": f"{'a' * 1000}.jsonl"}, "file_name"),
    ({"file_type": "csv"}, "file_type"),
    ({"file_type": "exe"}, "file_type"),
    ({"purpose": "dinner"}, "purpose"),
    ({"purpose": "fine_tune"}, "purpose"),
]


@pytest.mark.parametrize(("fields", "param"), [({"file_name": ""}, "file_name"), *REFUSED])
def test_an_upload_that_is_announced_wrongly_is_refused(local, fields, param):
    assert fault(opened(local, **fields)) == (400, "invalid_request_error", param)
    assert local.get("/v1/files")["data"] == []


@pytest.mark.parametrize(
    "name", ["../../etc/pairs.jsonl", "/etc/pairs.jsonl", "..\\..\\pairs.jsonl", "C:\\x\\pairs.jsonl"]
)
def test_an_uploaded_name_cannot_escape(local, store, name):
    file_id = local.upload([{"text": "abc"}], file_name=name)
    assert local.get(f"/v1/files/{file_id}")["filename"] == "pairs.jsonl"
    found = [path.name for path in store.folder.rglob("*") if path.is_file()]
    assert [name for name in found if not name.startswith("preftune.db")] == [file_id]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data; boundary=xx", b"garbage"),
        ("multipart/form-data", b"garbage"),
        ("application/x-www-form-urlencoded", b"&".join(b"a%d=1" % i for i in range(30))),
        ("text/plain", b"hello"),
    ],
)
def test_a_form_that_does_not_read_is_refused(local, kind, body):
    assert fault(local.call("POST", "/v1/files", content=body, headers={"content-type": kind}))[0] == 400


def test_a_checksum_may_be_written_in_capitals(local):
    location = opened(local, checksum=digest(b"abc").upper()).headers["location"]
    assert local.call("PUT", location, key=None, content=b"abc").status_code == 200


def test_an_upload_may_be_put_again_before_it_is_complete(local):
    location = opened(local).headers["location"]
    file_id = location.partition("?")[0].rpartition("/")[2]
    for content in (b"half", b"whole"):
        assert local.call("PUT", location, key=None, content=content).status_code == 200
    assert local.call("GET", f"/v1/files/{file_id}/content").content == b"whole"


def test_preprocess_answers_the_seven_typed_fields_and_queues_the_file(local):
    answer = opened(local, purpose="fine-tune")
    local.call("PUT", answer.headers["location"], key=None, content=b'{"text": "a"}')
    done = local.call("POST", f"/v1/files/{answer.headers['x-together-file-id']}/preprocess")
    fields = ("id", "object", "created_at", "filename", "bytes", "purpose", "FileType")
    assert done.status_code == 200
    assert [type(done.json()[name]) for name in fields] == [str, str, int, str, int, str, str]
    assert (done.json()["bytes"], done.json()["object"]) == (13, "file")
    assert done.json()["processing_status"] in ("QUEUED", "RUNNING", "COMPLETED")


def test_preprocess_before_the_bytes_is_refused(local):
    file_id = opened(local).headers["x-together-file-id"]
    answer = local.call("POST", f"/v1/files/{file_id}/preprocess")
    assert fault(answer)[0] == 400
    assert answer.json()["error"]["message"] == f"file {file_id} has no content yet; upload it first"


def test_a_file_of_another_purpose_is_complete_unread(local):
    file_id = local.upload(b"a,b\n1,2\n", purpose="eval", file_name="table.csv", file_type="csv")
    file = local.get(f"/v1/files/{file_id}")
    assert (file["processing_status"], file["purpose"], "validation_report" in file) == ("COMPLETED", "eval", False)


@pytest.mark.parametrize(
    "purpose", ["batch-api", "batch-generated", "calibration", "eval", "eval-output", "eval-sample", "eval-summary"]
)
def test_any_purpose_but_tuning_leaves_a_file_unread(local, purpose):
    file = local.get(f"/v1/files/{local.upload(b'nonsense', purpose=purpose)}")
    shown = (file["processing_status"], file["purpose"], "validation_report" in file)
    assert shown == ("COMPLETED", purpose, False)


def test_a_table_for_tuning_is_taken_and_refused_when_it_is_read(local):
    file_id = local.upload(b"PAR1", file_name="rows.parquet", file_type="parquet")
    file = local.get(f"/v1/files/{file_id}")
    assert (file["processing_status"], file["FileType"]) == ("INVALID_FORMAT", "parquet")
    assert file["validation_report"] == {
        "valid": False,
        "dataset_format": None,
        "error": "rows.parquet: the local server trains on JSON lines alone, found parquet; send jsonl",
        "error_type": "INVALID_FORMAT",
        "file_id": file_id,
    }


def test_preprocess_again_changes_nothing(local):
    file_id = local.upload([{"text": "a"}])
    before = local.get(f"/v1/files/{file_id}")
    assert local.call("POST", f"/v1/files/{file_id}/preprocess").json() == before


@pytest.mark.parametrize(
    ("content", "status", "report"),
    [
        (b'{"text": "a"}\n', "COMPLETED", {"valid": True, "dataset_format": "general", "nlines": 1}),
        (
            b'{"text": 5}\n',
            "INVALID_FORMAT",
            {
                "valid": False,
                "dataset_format": "general",
                "error": "Line 1: text is a number; it must be text",
                "error_type": "INVALID_FORMAT",
            },
        ),
    ],
)
def test_a_file_is_read_and_its_report_shown(local, content, status, report):
    file_id = local.upload(content)
    shown = local.get(f"/v1/files/{file_id}")
    assert (shown["processing_status"], shown["Processed"]) == (status, status == "COMPLETED")
    assert shown["validation_report"] == report | {"file_id": file_id}


def test_a_file_that_cannot_be_read_at_all_is_failed_with_the_reason(local, monkeypatch, caplog):
    def broken(path, name, file_type, **_):
        raise OSError("the disk is gone")

    monkeypatch.setattr(validate, "report", broken)
    file_id = local.upload([{"text": "a"}])
    shown = local.get(f"/v1/files/{file_id}")
    report = {"valid": False, "error": "the disk is gone", "error_type": "FAILED", "file_id": file_id}
    assert (shown["processing_status"], shown["validation_report"]) == ("FAILED", report)
    assert f"file {file_id} could not be read" in caplog.text


def test_a_fault_on_command_refuses_the_next_file_alone(store, make_local):
    faults = Faults()
    faults.add("invalid-format once")
    local = make_local(faults=faults)
    first, second = (local.get(f"/v1/files/{local.upload([{'text': text}])}") for text in "ab")
    assert first["processing_status"] == "INVALID_FORMAT"
    assert first["validation_report"] == {
        "valid": False,
        "dataset_format": None,
        "error": "Line 1: a fault on command: invalid-format",
        "error_type": "INVALID_FORMAT",
        "file_id": first["id"],
    }
    assert second["processing_status"] == "COMPLETED"


def test_a_file_deleted_before_it_is_read_is_passed_over(local, store, monkeypatch, eventually, caplog):
    go_on, begun = threading.Event(), []
    monkeypatch.setattr(validate, "report", lambda path, *_, **__: begun.append(path.name) or {"valid": go_on.wait(20)})
    ids = [sent(local, b'{"text": "%d"}' % number).json()["id"] for number in range(3)]
    eventually(lambda: begun)
    assert local.call("DELETE", f"/v1/files/{ids[1]}").status_code == 200
    go_on.set()
    eventually(lambda: store.file(ids[2])["status"] == "COMPLETED")
    assert (begun, store.file(ids[1]), caplog.text) == ([ids[0], ids[2]], None, "")


def test_files_that_the_last_server_did_not_finish_are_read(local, store, eventually):
    ids = [local.upload([{"text": f"{i}"}]) for i in range(3)]
    for file_id, status in zip(ids, ("QUEUED", "RUNNING", "COMPLETED"), strict=True):
        store.set_file(file_id, status=status, report=None)

    async def life():
        app = make_app(store, Options(api_key=KEY), wake=lambda: None)
        async with app.router.lifespan_context(app):
            await asyncio.to_thread(eventually, lambda: all(store.file(i)["status"] == "COMPLETED" for i in ids))

    asyncio.run(life())
    assert [(store.file(file_id)["report"] or {}).get("nlines") for file_id in ids] == [1, 1, None]


def test_the_application_ends_after_the_file_that_is_being_read(store, monkeypatch):
    seen = []
    monkeypatch.setattr(validate, "report", lambda path, *_, **__: seen.append(path.name) or {"valid": True})
    record = {"id": "file-1", "created_at": 1, "filename": "f", "purpose": "fine-tune", "file_type": "jsonl"}
    store.add_file(record | {"checksum": ""})
    store.set_file("file-1", status="QUEUED")

    async def life():
        app = make_app(store, Options(api_key=KEY), wake=lambda: None)
        async with app.router.lifespan_context(app):
            pass

    asyncio.run(life())
    assert (seen, store.file("file-1")["status"]) in [([], "QUEUED"), (["file-1"], "COMPLETED")]


def test_the_same_content_is_answered_with_the_file_that_holds_it(local):
    content = b'{"text": "a"}\n'
    known = local.upload(content)
    answer = opened(local, file_name="other.jsonl", checksum=digest(content))
    assert (answer.status_code, answer.json()["file_id"], answer.headers["x-should-retry"]) == (409, known, "false")
    assert answer.json()["error"] == {
        "message": "a file with this content already exists",
        "type": "conflict_error",
        "param": None,
        "code": "file_exists",
    }


def test_an_unfinished_upload_is_no_duplicate(local):
    checksum = digest(b"abc")
    first, second = (opened(local, checksum=checksum) for _ in range(2))
    assert (first.status_code, second.status_code) == (302, 302)
    assert first.headers["x-together-file-id"] != second.headers["x-together-file-id"]


def test_content_comes_back_byte_for_byte_with_its_length(local):
    content = b'{"text": "\xc3\xa9"}\r\n\n'
    answer = local.call("GET", f"/v1/files/{local.upload(content)}/content")
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, content, str(len(content)))
    assert answer.headers["content-type"] == "application/octet-stream"


def test_content_before_the_upload_is_not_found(local):
    file_id = opened(local).headers["x-together-file-id"]
    assert fault(local.call("GET", f"/v1/files/{file_id}/content")) == (404, "not_found_error", None)


@pytest.mark.parametrize("status", ["FAILED", "PENDING"])
def test_content_that_was_lost_or_never_came_may_come_again(local, store, status):
    content = b'{"text": "a"}\n'
    store.set_file(local.upload(content), status=status)
    assert opened(local, checksum=digest(content)).status_code == 302


def test_the_same_content_for_another_purpose_is_another_file(local):
    content = b'{"text": "a"}\n'
    first, second = local.upload(content), local.upload(content, purpose="eval")
    assert first != second
    assert opened(local, checksum=digest(content), purpose="eval").json()["file_id"] == second


def test_files_are_listed_as_they_are_retrieved_and_gone_when_deleted(local):
    first, second = (local.upload([{"text": text}]) for text in "ab")
    assert local.get("/v1/files") == {"object": "list", "data": [local.get(f"/v1/files/{i}") for i in (second, first)]}
    gone = local.call("DELETE", f"/v1/files/{first}")
    assert (gone.status_code, gone.json()) == (200, {"id": first, "object": "file", "deleted": True})
    assert [one["id"] for one in local.get("/v1/files")["data"]] == [second]
    assert fault(local.call("GET", f"/v1/files/{first}")) == (404, "not_found_error", "id")


def test_a_deleted_file_takes_its_bytes_and_its_parts_along(local, store):
    whole = local.upload([{"text": "a"}])
    begun = initiated(local)
    put(local, begun)
    for file_id in (whole, begun["file_id"]):
        assert local.call("DELETE", f"/v1/files/{file_id}").status_code == 200
    assert (kept(store), kept(store, "uploads")) == ([], [])


# in one request


@pytest.mark.parametrize("path", ["/v1/files", "/v1/files/upload"])
def test_a_file_comes_whole_in_one_request(local, store, eventually, path):
    content = b'{"text": "a"}\n'
    answer = sent(local, content, path, file_name="mine.jsonl", checksum=digest(content).upper())
    file = answer.json()
    assert (answer.status_code, file["filename"], file["bytes"], file["purpose"], file["FileType"]) == (
        200,
        "mine.jsonl",
        len(content),
        "fine-tune",
        "jsonl",
    )
    report = {"valid": True, "dataset_format": "general", "nlines": 1, "file_id": file["id"]}
    assert read(local, file["id"], eventually)["validation_report"] == report
    assert local.call("GET", f"/v1/files/{file['id']}/content").content == content
    assert kept(store) == [file["id"]]


def test_a_part_brings_its_own_name_and_is_of_the_usual_type(local):
    file = sent(local, b"a,b\n", name="dir/table.csv", file_name="", purpose="eval").json()
    shown = (file["filename"], file["FileType"], file["purpose"], file["processing_status"])
    assert shown == ("table.csv", "jsonl", "eval", "COMPLETED")


def test_a_large_part_is_kept_whole(local):
    content = b"x" * (3 * 2**20 + 1)
    file = sent(local, content, purpose="eval").json()
    assert file["bytes"] == len(content)
    assert local.call("GET", f"/v1/files/{file['id']}/content").content == content


@pytest.mark.parametrize("path", ["/v1/files", "/v1/files/upload"])
def test_a_part_with_another_digest_is_refused_and_forgotten(local, store, path):
    answer = sent(local, b"abc", path, checksum=digest(b"abd"))
    assert fault(answer) == (400, "invalid_request_error", "checksum")
    assert answer.json()["error"]["message"] == "the 3 bytes that arrived do not have the announced SHA-256"
    assert (local.get("/v1/files")["data"], kept(store)) == ([], [])


@pytest.mark.parametrize("path", ["/v1/files", "/v1/files/upload"])
def test_a_part_with_known_content_is_answered_with_the_file_that_holds_it(local, path):
    known = local.upload(b'{"text": "a"}\n')
    answer = sent(local, b'{"text": "a"}\n', path, checksum=digest(b'{"text": "a"}\n'))
    assert (fault(answer)[:2], answer.json()["file_id"]) == ((409, "conflict_error"), known)


@pytest.mark.parametrize(("fields", "param"), REFUSED)
def test_a_file_that_comes_with_wrong_fields_is_refused(local, fields, param):
    assert fault(sent(local, b"abc", **fields)) == (400, "invalid_request_error", param)
    assert local.get("/v1/files")["data"] == []


@pytest.mark.parametrize(
    "given",
    [{}, {"data": {"file": "abc"}}, {"data": {"file_name": "a.jsonl"}}, {"params": {"file": "abc"}}],
    ids=["nothing", "a field", "no file", "a parameter"],
)
def test_an_upload_in_one_request_needs_a_part_with_the_file(local, given):
    assert fault(local.call("POST", "/v1/files/upload", **given)) == (400, "invalid_request_error", "file")


def test_only_one_file_comes_in_one_request(local):
    files = [("file", ("a.jsonl", b"x")), ("file", ("b.jsonl", b"y"))]
    assert fault(local.call("POST", "/v1/files/upload", files=files))[0] == 400
    assert local.get("/v1/files")["data"] == []


def test_a_form_larger_than_a_file_may_be_is_refused(local, monkeypatch):
    monkeypatch.setattr(limits, "MAX_FILE", 1000)
    assert sent(local, b"x" * 500, purpose="eval").status_code == 200
    assert fault(sent(local, b"x" * 1001, purpose="eval")) == (413, "invalid_request_error", None)
    assert [file["bytes"] for file in local.get("/v1/files")["data"]] == [500]


# in parts


def initiated(local, **change):
    body = {"file_name": "pairs.jsonl", "file_size": 6, "num_parts": 2, "file_type": "jsonl", "purpose": "fine-tune"}
    answer = local.call("POST", "/v1/files/multipart/initiate", json=body | change)
    assert answer.status_code == 200, answer.text
    return answer.json()


def put(local, begun, contents=(b'{"text"', b': "a"}')):
    """Put the parts of an upload and return what `complete` is to be told."""
    parts = []
    for part, content in zip(begun["parts"], contents, strict=True):
        answer = local.call("PUT", part["URL"], key=None, content=content, headers=part["Headers"])
        assert answer.status_code == 200, answer.text
        parts.append({"part_number": part["PartNumber"], "etag": answer.headers["etag"].strip('"')})
    return {"upload_id": begun["upload_id"], "file_id": begun["file_id"], "parts": parts}


def ended(local, what, body):
    return local.call("POST", f"/v1/files/multipart/{what}", json=body)


def test_an_upload_in_parts_begins_with_a_place_for_each(local):
    begun = initiated(local, num_parts=3.0, file_size=6.0, checksum=digest(b"abc"), purpose="eval")
    address = rf"http://local/storage/parts/{begun['upload_id']}/(\d)\?expires=\d+&signature=[0-9a-f]{{64}}"
    assert (sorted(begun), [sorted(part) for part in begun["parts"]]) == (
        ["file_id", "parts", "upload_id"],
        [["Headers", "PartNumber", "URL"]] * 3,
    )
    assert [(part["PartNumber"], part["Headers"]) for part in begun["parts"]] == [(1, {}), (2, {}), (3, {})]
    assert [re.fullmatch(address, part["URL"])[1] for part in begun["parts"]] == ["1", "2", "3"]
    file = local.get(f"/v1/files/{begun['file_id']}")
    assert (file["processing_status"], file["purpose"], file["bytes"]) == ("PENDING", "eval", 0)


def test_the_parts_of_an_upload_become_one_file(local, store, eventually):
    contents = b'{"text"', b': "a"}', b"\n"
    whole = b"".join(contents)
    begun = initiated(local, num_parts=3, file_size=len(whole), checksum=digest(whole))
    answer = ended(local, "complete", put(local, begun, contents))
    file = answer.json()["file"]
    assert (answer.status_code, sorted(answer.json()), file["id"], file["bytes"]) == (
        200,
        ["file"],
        begun["file_id"],
        len(whole),
    )
    assert read(local, file["id"], eventually)["validation_report"]["nlines"] == 1
    assert local.call("GET", f"/v1/files/{file['id']}/content").content == whole
    assert (kept(store), kept(store, "uploads")) == ([file["id"]], [])


def test_parts_may_come_in_any_order_and_again(local):
    begun = initiated(local, file_size=4, purpose="eval")
    first, second = (part["URL"] for part in begun["parts"])
    tags = {}
    for address, content in [(second, b"cd"), (first, b"xx"), (first, b"ab")]:
        tags[address] = local.call("PUT", address, key=None, content=content).headers["etag"]
    parts = [{"part_number": 2, "etag": tags[second]}, {"part_number": 1, "etag": tags[first]}]
    done = ended(local, "complete", {"upload_id": begun["upload_id"], "file_id": begun["file_id"], "parts": parts})
    assert (done.status_code, done.json()["file"]["processing_status"]) == (200, "COMPLETED")
    assert local.call("GET", f"/v1/files/{begun['file_id']}/content").content == b"abcd"


def test_an_upload_completed_twice_after_a_lost_answer_is_answered_alike(local):
    begun = initiated(local, file_size=4, purpose="eval")
    body = put(local, begun, (b"ab", b"cd"))
    first, second = ended(local, "complete", body), ended(local, "complete", body)
    assert (first.status_code, second.status_code, second.json()) == (200, 200, first.json())


def test_an_upload_completed_twice_at_once_is_put_together_once_and_answered_alike(local, store):
    begun = initiated(local, file_size=4, purpose="eval")
    body = put(local, begun, (b"ab", b"cd"))

    async def both():
        transport = httpx.ASGITransport(local.app)
        headers = {"authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://local", headers=headers) as client:
            asked = [client.post("/v1/files/multipart/complete", json=body) for _ in range(3)]
            return await asyncio.gather(*asked)

    first, *others = asyncio.run(both())
    assert (first.status_code, [other.json() for other in others]) == (200, [first.json()] * 2)
    assert (kept(store), kept(store, "uploads")) == ([begun["file_id"]], [])


def test_a_deleted_file_cannot_be_completed_again(local):
    begun = initiated(local, file_size=4, purpose="eval")
    body = put(local, begun, (b"ab", b"cd"))
    ended(local, "complete", body)
    local.call("DELETE", f"/v1/files/{begun['file_id']}")
    assert fault(ended(local, "complete", body)) == (404, "not_found_error", "id")


@pytest.mark.parametrize(
    "change",
    [
        lambda parts: [],
        lambda parts: parts[:1],
        lambda parts: parts[1:],
        lambda parts: [*parts, {"part_number": 3, "etag": "0" * 32}],
        lambda parts: [{**part, "etag": "0" * 32} for part in parts],
        lambda parts: [{**part, "part_number": part["part_number"] - 1} for part in parts],
        lambda parts: [part["etag"] for part in parts],
        lambda parts: [{"etag": part["etag"]} for part in parts],
        lambda parts: [{"part_number": part["part_number"]} for part in parts],
        lambda parts: [{**part, "part_number": "one"} for part in parts],
        lambda parts: [None, None],
        lambda parts: {"1": parts[0]},
        lambda parts: "parts",
        lambda parts: None,
    ],
    ids=[
        "none", "the last is missing", "the first is missing", "one too many", "another tag", "from zero", "tags alone",
        "no number", "no tag", "no whole number", "nulls", "an object", "text", "null",
    ],
)  # fmt: skip
def test_an_upload_is_completed_with_all_its_parts_and_their_tags_alone(local, change):
    begun = initiated(local, file_size=4, purpose="eval")
    body = put(local, begun, (b"ab", b"cd"))
    answer = ended(local, "complete", body | {"parts": change(body["parts"])})
    assert fault(answer) == (400, "invalid_request_error", "parts")
    assert local.get(f"/v1/files/{begun['file_id']}")["processing_status"] == "PENDING"
    assert ended(local, "complete", body).status_code == 200


def test_an_upload_is_not_completed_before_its_parts_have_come(local):
    begun = initiated(local)
    local.call("PUT", begun["parts"][0]["URL"], key=None, content=b"abc")
    parts = [{"part_number": number, "etag": digest(b"abc")[:32]} for number in (1, 2)]
    answer = ended(local, "complete", {"upload_id": begun["upload_id"], "file_id": begun["file_id"], "parts": parts})
    assert fault(answer) == (400, "invalid_request_error", "parts")
    assert answer.json()["error"]["message"] == "parts 2 have not come, or not with these entity tags"


@pytest.mark.parametrize(
    ("change", "param", "message"),
    [
        ({"checksum": "0" * 64}, "checksum", "the 4 bytes that arrived do not have the announced SHA-256"),
        ({"file_size": 3}, "parts", "the parts have 4 bytes in all; 3 were announced"),
        ({"file_size": 5}, "parts", "the parts have 4 bytes in all; 5 were announced"),
    ],
)
def test_parts_that_are_not_what_was_announced_make_no_file(local, store, change, param, message):
    begun = initiated(local, **{"file_size": 4} | change)
    answer = ended(local, "complete", put(local, begun, (b"ab", b"cd")))
    assert (fault(answer), answer.json()["error"]["message"]) == ((400, "invalid_request_error", param), message)
    assert local.get(f"/v1/files/{begun['file_id']}")["processing_status"] == "PENDING"
    assert kept(store) == []


def test_an_aborted_upload_leaves_nothing(local, store):
    begun = initiated(local)
    body = put(local, begun)
    answer = ended(local, "abort", body)
    assert (answer.status_code, answer.json()) == (200, {"upload_id": begun["upload_id"], "aborted": True})
    assert (local.get("/v1/files")["data"], kept(store), kept(store, "uploads")) == ([], [], [])
    assert fault(ended(local, "complete", body)) == (404, "not_found_error", "id")
    assert fault(ended(local, "abort", body)) == (404, "not_found_error", "id")


def test_a_complete_upload_cannot_be_aborted(local):
    begun = initiated(local, file_size=4, purpose="eval")
    body = put(local, begun, (b"ab", b"cd"))
    ended(local, "complete", body)
    answer = ended(local, "abort", body)
    assert fault(answer) == (400, "invalid_request_error", "upload_id")
    assert answer.json()["error"]["message"] == f"the upload of file {begun['file_id']} is complete"
    assert local.get(f"/v1/files/{begun['file_id']}")["processing_status"] == "COMPLETED"


@pytest.mark.parametrize("what", ["abort", "complete"])
@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"file_id": "file-9"}, 404, "upload_id"),
        ({"file_id": "file-9", "upload_id": "upload-9"}, 404, "id"),
        ({"file_id": ""}, 400, "file_id"),
        ({"file_id": 5}, 400, "file_id"),
        ({"upload_id": "upload-9"}, 404, "upload_id"),
        ({"upload_id": None}, 400, "upload_id"),
        ({"upload_id": ["upload-9"]}, 400, "upload_id"),
    ],
)
def test_an_upload_in_parts_ends_by_both_its_ids(local, what, change, status, param):
    body = put(local, initiated(local))
    answer = ended(local, what, body | change)
    assert (fault(answer)[0], fault(answer)[2]) == (status, param)


@pytest.mark.parametrize("what", ["abort", "complete"])
def test_an_upload_in_three_steps_is_none_in_parts(local, what):
    file_id = opened(local).headers["x-together-file-id"]
    upload_id = file_id.replace("file-", "upload-")
    answer = ended(local, what, {"file_id": file_id, "upload_id": upload_id, "parts": []})
    assert fault(answer) == (404, "not_found_error", "upload_id")


@pytest.mark.parametrize(
    ("change", "param"),
    [
        *REFUSED,
        ({"file_name": ""}, "file_name"),
        ({"checksum": 5}, "checksum"),
        ({"file_name": None}, "file_name"),
        ({"file_name": ["a"]}, "file_name"),
        ({"file_size": "large"}, "file_size"),
        ({"file_size": -1}, "file_size"),
        ({"file_size": 0}, "file_size"),
        ({"file_size": 1.5}, "file_size"),
        ({"file_size": None}, "file_size"),
        ({"file_size": True}, "file_size"),
        ({"file_size": limits.MAX_FILE + 1}, "file_size"),
        ({"file_type": ["jsonl"]}, "file_type"),
        ({"num_parts": 0}, "num_parts"),
        ({"num_parts": None}, "num_parts"),
        ({"num_parts": limits.MAX_PARTS + 1}, "num_parts"),
        ({"purpose": 5}, "purpose"),
    ],
)
def test_an_upload_in_parts_that_is_announced_wrongly_is_refused(local, change, param):
    body = {"file_name": "pairs.jsonl", "file_size": 6, "num_parts": 2} | change
    assert fault(local.call("POST", "/v1/files/multipart/initiate", json=body)) == (400, "invalid_request_error", param)
    assert local.get("/v1/files")["data"] == []


def test_as_many_and_as_large_parts_as_a_client_may_send_are_taken(local):
    begun = initiated(local, file_size=limits.MAX_FILE, num_parts=limits.MAX_PARTS)
    assert [part["PartNumber"] for part in begun["parts"]] == list(range(1, limits.MAX_PARTS + 1))


def test_known_content_is_not_asked_for_in_parts(local):
    known = local.upload(b'{"text": "a"}\n')
    body = {"file_name": "a.jsonl", "file_size": 14, "num_parts": 1, "checksum": digest(b'{"text": "a"}\n')}
    answer = local.call("POST", "/v1/files/multipart/initiate", json=body)
    assert (fault(answer)[:2], answer.json()["file_id"]) == ((409, "conflict_error"), known)


@pytest.mark.parametrize("ended", ["abort", "delete"])
def test_a_file_that_goes_while_its_parts_are_put_together_leaves_nothing(local, store, monkeypatch, ended):
    begun = initiated(local, file_size=4)
    body = put(local, begun, (b"ab", b"cd"))
    together = file_routes.put_together

    async def late(*args, **more):
        if ended == "abort":
            store.end_upload(begun["upload_id"])
        else:
            store.delete_file(begun["file_id"])
        paths = [store.folder / "again"] * 2
        paths[0].write_bytes(b"ab")
        await together(paths, *args[1:], **more | {"checksum": ""})

    monkeypatch.setattr(file_routes, "put_together", late)
    answer = local.call("POST", "/v1/files/multipart/complete", json=body)
    assert fault(answer)[0] == 404
    assert kept(store) == []


def test_an_upload_whose_file_is_deleted_while_it_is_put_together_is_not_found(local, store, monkeypatch):
    body = put(local, initiated(local))
    join = file_routes.put_together

    async def late(*given, **more):
        assert local_delete(store, body["file_id"])
        return await join(*given, **more)

    def local_delete(store, file_id):
        store.delete_file(file_id)
        return store.file(file_id) is None

    monkeypatch.setattr(file_routes, "put_together", late)
    assert fault(ended(local, "complete", body))[:2] == (404, "not_found_error")


def test_parts_that_vanish_from_the_disk_are_a_failure_of_the_server(local, store, caplog):
    body = put(local, initiated(local))
    store.upload_path(body["upload_id"], 1).unlink()
    assert ended(local, "complete", body).status_code == 500
    assert "FileNotFoundError" in caplog.text


def test_content_that_was_refused_is_read_again_when_it_comes_again(local):
    first, second = local.upload(b"{}\n"), local.upload(b"{}\n")
    assert first != second
    assert [one["processing_status"] for one in local.get("/v1/files")["data"]] == ["INVALID_FORMAT"] * 2


def test_a_fault_of_files_waits_for_known_content_too(local):
    good = local.upload([{"text": "a"}])
    local.options.faults.add("invalid-format once")
    refused = local.upload([{"text": "a"}])
    assert local.get(f"/v1/files/{refused}")["processing_status"] == "INVALID_FORMAT"
    assert local.upload([{"text": "a"}]) == good


@pytest.mark.parametrize("content", [b"\n" * 10**6, b'{"text": "a"}\n' * 10**5, b'{"input": 1}\n' * 10**5])
def test_a_file_that_is_being_read_when_the_server_ends_is_read_by_the_next(store, content, eventually):
    record = {"id": "file-1", "created_at": 1, "filename": "f", "purpose": "fine-tune", "file_type": "jsonl"}
    store.add_file(record | {"checksum": ""})
    store.file_path("file-1").write_bytes(content)
    store.set_file("file-1", status="QUEUED")

    async def life(until):
        app = make_app(store, Options(api_key=KEY), wake=lambda: None)
        async with app.router.lifespan_context(app):
            await asyncio.to_thread(eventually, lambda: store.file("file-1")["status"] in until)

    asyncio.run(life(["RUNNING"]))
    assert store.file("file-1")["status"] == "RUNNING"
    store.file_path("file-1").write_bytes(b'{"text": "a"}\n')
    asyncio.run(life(["COMPLETED"]))
