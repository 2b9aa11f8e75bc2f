import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import httpx
import pytest
import zstandard

from preftune.errors import (
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    BadRequestError,
    ConfigError,
    ConflictError,
    DataError,
    IntegrityError,
    NotFoundError,
)

BASE = "http://api.test"
STORAGE = "http://storage.test/put"
CONTENT = b'{"input": {}}\n' * 3


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(CONTENT)
    return path


def upload(path):
    return lambda client: client.files.upload(path)


class Hosted:
    """The three requests of an upload."""

    def __init__(self, respx_mock):
        where = {"location": f"{STORAGE}?signature=s", "x-together-file-id": "file-1"}
        self.opened = respx_mock.post(f"{BASE}/v1/files").respond(302, headers=where)
        self.put = respx_mock.put(STORAGE).respond(200)
        self.done = respx_mock.post(f"{BASE}/v1/files/file-1/preprocess").respond(
            json={"id": "file-1", "filename": "pairs.jsonl", "processing_status": "QUEUED"}
        )


@pytest.fixture
def hosted(respx_mock):
    respx_mock._assert_all_called = False
    return Hosted(respx_mock)


# upload


def test_an_upload_asks_sends_and_confirms(rig, hosted, pairs):
    file = rig.do(upload(str(pairs)))
    assert (file.id, file.processing_status) == ("file-1", "QUEUED")
    form = hosted.opened.calls.last.request
    parts = {
        part.partition(b'name="')[2].partition(b'"')[0].decode(): part.partition(b"\r\n\r\n")[2].strip().decode()
        for part in form.content.split(b"--" + form.headers["content-type"].partition("boundary=")[2].encode())[1:-1]
    }
    assert parts == {
        "purpose": "fine-tune",
        "file_name": "pairs.jsonl",
        "file_type": "jsonl",
        "checksum": hashlib.sha256(CONTENT).hexdigest(),
    }
    sent = hosted.put.calls.last.request
    assert (str(sent.url), sent.content, sent.headers["content-length"]) == (
        f"{STORAGE}?signature=s",
        CONTENT,
        str(len(CONTENT)),
    )
    assert {"authorization", "cookie", "transfer-encoding"}.isdisjoint(sent.headers)
    assert hosted.done.calls.last.request.content == b""


@pytest.mark.parametrize("status", [200, 201, 302])
def test_an_upload_may_be_opened_by_several_statuses(rig, hosted, pairs, status):
    hosted.opened.respond(status, headers={"location": STORAGE, "x-together-file-id": "file-1"})
    assert rig.do(upload(pairs)).id == "file-1"


def test_each_step_of_an_upload_is_tried_again_by_itself(rig, hosted, pairs):
    hosted.put.side_effect = [httpx.Response(503), httpx.WriteError, httpx.Response(200)]
    assert rig.do(upload(pairs)).id == "file-1"
    assert [call.request.content for call in hosted.put.calls] == [CONTENT] * 3
    assert (hosted.opened.call_count, hosted.done.call_count) == (1, 1)


def test_content_that_is_there_already_is_not_sent_again(rig, hosted, respx_mock, pairs):
    hosted.opened.respond(409, json={"error": {"message": "duplicate"}, "file_id": "file-old"})
    respx_mock.get(f"{BASE}/v1/files/file-old").respond(json={"id": "file-old"})
    assert rig.do(upload(pairs)).id == "file-old"
    assert not hosted.put.called


@pytest.mark.parametrize(
    "body", [{"json": {"error": {"message": "no"}}}, {"content": b"no"}, {"json": {"file_id": ""}}]
)
def test_a_conflict_that_names_no_file_is_an_error(rig, hosted, pairs, body):
    hosted.opened.respond(409, **body)
    with pytest.raises(ConflictError):
        rig.do(upload(pairs))
    assert hosted.opened.call_count == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"location": STORAGE},
        {"x-together-file-id": "file-1"},
        {"location": "/relative", "x-together-file-id": "file-1"},
        {"location": "ftp://storage.test", "x-together-file-id": "file-1"},
    ],
)
def test_an_opening_without_a_place_is_refused(rig, hosted, pairs, headers):
    hosted.opened.respond(302, headers=headers)
    with pytest.raises(APIResponseValidationError, match="POST /files: expected an absolute Location and X-Together-"):
        rig.do(upload(pairs))
    assert not hosted.put.called


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("stated", ["http://other.test/b?s=2", "//other.test/b?s=2", "https://other.test/b?s=2"])
def test_a_redirected_put_is_sent_again_to_storage_with_its_body(rig, hosted, respx_mock, pairs, status, stated):
    hosted.put.respond(status, headers={"location": stated})
    other = respx_mock.put(host="other.test", path="/b").respond(200)
    assert rig.do(upload(pairs)).id == "file-1"
    assert other.calls.last.request.content == CONTENT
    assert "authorization" not in other.calls.last.request.headers


def test_a_relative_redirect_stays_with_the_storage(rig, hosted, respx_mock, pairs):
    hosted.put.respond(307, headers={"location": "/b?s=2"})
    other = respx_mock.put("http://storage.test/b?s=2").respond(200)
    rig.do(upload(pairs))
    assert other.calls.last.request.content == CONTENT


@pytest.mark.parametrize("stated", [{}, {"location": ""}, {"location": "ftp://x/y"}])
def test_a_redirect_to_nowhere_is_refused(rig, hosted, pairs, stated):
    hosted.put.respond(307, headers=stated)
    with pytest.raises(APIResponseValidationError) as error:
        rig.do(upload(pairs))
    assert str(error.value) == (
        f"PUT {STORAGE}: 307, expected a Location to go on to, found {stated.get('location', '')!r}; upload again"
    )
    assert hosted.put.call_count == 1


def test_a_redirect_from_https_down_to_http_is_refused(rig, hosted, respx_mock, pairs):
    where = {"location": "https://storage.test/p?s=1", "x-together-file-id": "file-1"}
    hosted.opened.respond(302, headers=where)
    respx_mock.put("https://storage.test/p?s=1").respond(307, headers={"location": "http://other.test/p?s=2"})
    with pytest.raises(APIResponseValidationError, match=r"found 'http://other.test/p'; upload again"):
        rig.do(upload(pairs))


def test_redirects_without_end_are_refused(rig, hosted, pairs):
    hosted.put.respond(307, headers={"location": f"{STORAGE}?again"})
    with pytest.raises(IntegrityError) as error:
        rig.do(upload(pairs))
    assert str(error.value) == ("upload of pairs.jsonl: expected storage, found 20 redirects in a row; try again later")
    assert hosted.put.call_count == 20


def test_a_storage_that_refuses_is_an_error_without_its_signature(rig, hosted, pairs):
    hosted.put.respond(400, content=b"<Error>no</Error>")
    with pytest.raises(BadRequestError, match=r"PUT http://storage\.test/put: 400, <Error>no</Error>$"):
        rig.do(upload(pairs))


@pytest.mark.parametrize("file_id", ["..", "."])
def test_a_file_id_that_would_change_a_path_is_refused(rig, hosted, pairs, file_id):
    hosted.opened.respond(302, headers={"location": STORAGE, "x-together-file-id": file_id})
    with pytest.raises(ConfigError):
        rig.do(upload(pairs))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("none.jsonl", "expected a file, found nothing there; check the path"),
        ("", "expected a file, found a folder; check the path"),
        ("pairs.txt", "expected one of .jsonl, .csv, .parquet, found '.txt'; convert it"),
        ("pairs", "expected one of .jsonl, .csv, .parquet, found 'no extension'; convert it"),
    ],
)
def test_what_cannot_be_uploaded_is_refused_before_anything_is_sent(rig, tmp_path, name, found):
    for unfit in ("pairs.txt", "pairs"):
        (tmp_path / unfit).write_text("x")
    with pytest.raises(DataError) as error:
        rig.do(upload(tmp_path / name))
    assert str(error.value) == f"{tmp_path / name}: {found}"


# download


def archive(*members):
    """Return a tar of (name or TarInfo, bytes) pairs."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members:
            member = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            if member.isfile():
                member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def special(name, kind, link=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


SOUND = archive((special("deep", tarfile.DIRTYPE), b""), ("deep/weights.bin", b"w" * 9), ("config.json", b"{}"))
FORMS = {"zst": zstandard.compress, "gz": gzip.compress, "plain": lambda content: content}


@pytest.fixture
def served(respx_mock):
    def serve(content, **headers):
        return respx_mock.get(f"{BASE}/v1/finetune/download").respond(content=content, headers=headers)

    return serve


def download(to, **asked):
    asked = {"checkpoint": "adapter"} | asked
    return lambda client: client.fine_tuning.download("ft-1", to=to, **asked)


def contents(folder: Path):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("form", FORMS)
def test_a_checkpoint_is_unpacked_into_its_folder(rig, served, tmp_path, form):
    route = served(FORMS[form](SOUND))
    target = tmp_path / "models" / "adapter"
    assert rig.do(download(str(target))) == target
    assert contents(tmp_path) == {"models/adapter/deep/weights.bin": b"w" * 9, "models/adapter/config.json": b"{}"}
    sent = route.calls.last.request
    assert dict(sent.url.params) == {"ft_id": "ft-1", "checkpoint": "adapter"}
    assert (sent.headers["accept"], sent.headers["accept-encoding"]) == ("application/octet-stream", "identity")


@pytest.mark.parametrize("form", FORMS)
def test_an_archive_may_be_padded(rig, served, tmp_path, form):
    served(FORMS[form](SOUND + bytes(64 * 1024)))
    rig.do(download(tmp_path / "a"))
    assert contents(tmp_path / "a") == {"deep/weights.bin": b"w" * 9, "config.json": b"{}"}


def test_other_files_of_the_folder_stay_and_old_ones_are_replaced(rig, served, tmp_path):
    served(SOUND)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "config.json").write_text("old")
    rig.do(download(tmp_path))
    assert contents(tmp_path) == {"deep/weights.bin": b"w" * 9, "config.json": b"{}", "notes.txt": b"mine"}


@pytest.mark.parametrize(
    ("kind", "checkpoint"),
    [
        ({"type": "Lora"}, "adapter"),
        ({"type": "Full"}, "model_output_path"),
        (None, "adapter"),
        ("odd", "adapter"),
    ],
)
def test_what_the_job_trained_is_downloaded_unless_something_else_is_named(
    rig, served, respx_mock, tmp_path, kind, checkpoint
):
    respx_mock.get(f"{BASE}/v1/fine-tunes/ft-1").respond(json={"id": "ft-1", "training_type": kind})
    route = served(SOUND)
    rig.do(download(tmp_path / "a", checkpoint=None, step=40))
    assert dict(route.calls.last.request.url.params) == {
        "ft_id": "ft-1",
        "checkpoint": checkpoint,
        "checkpoint_step": "40",
    }


def test_a_job_id_stands_as_it_is_in_a_query(rig, served, tmp_path):
    route = served(SOUND)
    rig.do(lambda client: client.fine_tuning.download("me/ft:1", to=tmp_path / "a", checkpoint="merged"))
    assert dict(route.calls.last.request.url.params) == {"ft_id": "me/ft:1", "checkpoint": "merged"}


def test_a_download_that_is_tried_again_is_whole(rig, served, tmp_path):
    route = served(b"")
    route.side_effect = [httpx.Response(503), httpx.ReadError, httpx.Response(200, content=SOUND)]
    rig.do(download(tmp_path / "a"))
    assert contents(tmp_path / "a") == {"deep/weights.bin": b"w" * 9, "config.json": b"{}"}


def test_a_size_that_is_not_the_promised_one_is_an_error(rig, served, tmp_path):
    served(SOUND, **{"content-length": str(len(SOUND) + 1)})
    with pytest.raises(IntegrityError) as error:
        rig.do(download(tmp_path / "a"))
    assert str(error.value) == (f"download: expected {len(SOUND) + 1:,} bytes, found {len(SOUND):,}; download it again")
    assert list(tmp_path.iterdir()) == []


def test_a_size_need_not_be_promised(rig, served, tmp_path):
    route = served(b"")
    route.side_effect = lambda request: httpx.Response(200, stream=httpx.ByteStream(SOUND))
    rig.do(download(tmp_path / "a"))
    assert contents(tmp_path / "a") == {"deep/weights.bin": b"w" * 9, "config.json": b"{}"}


NUL = tarfile.TarInfo("short")
NUL.pax_headers = {"path": "a\0b"}
UNSOUND = {
    "escape": archive(("../evil", b"x")),
    "deep-escape": archive(("a/../../evil", b"x")),
    "symlink": archive((special("link", tarfile.SYMTYPE, "/etc/passwd"), b"")),
    "hardlink": archive(("a", b"x"), (special("link", tarfile.LNKTYPE, "a"), b"")),
    "device": archive((special("null", tarfile.CHRTYPE), b"")),
    "fifo": archive((special("pipe", tarfile.FIFOTYPE), b"")),
    "nul": archive((NUL, b"x")),
    "file-and-folder": archive(("a", b"x"), ("a/b", b"x")),
    "empty": b"",
    "html": b"<html>not found</html>" * 100,
    "cut-tar": SOUND[: 2 * 512 + 4],
    "bad-zst": zstandard.FRAME_HEADER + b"nonsense" * 99,
    "bad-gz": b"\x1f\x8b" + b"nonsense" * 99,
    "cut-gz": gzip.compress(SOUND)[:20],
    "gz-without-its-checksum": gzip.compress(SOUND)[:-6],
    "gz-of-another-checksum": gzip.compress(SOUND)[:-8] + b"wrong" + gzip.compress(SOUND)[-3:],
    "gz-cut-in-its-header": b"\x1f\x8b",
}


@pytest.mark.parametrize("name", UNSOUND)
def test_an_archive_that_is_unsound_leaves_nothing_behind(rig, served, tmp_path, name):
    served(UNSOUND[name])
    with pytest.raises(IntegrityError, match=r"^download: expected a sound archive, found .+; download it again$"):
        rig.do(download(tmp_path / "a"))
    assert list(tmp_path.iterdir()) == []


def test_a_path_from_the_root_stays_inside_the_folder(rig, served, tmp_path):
    served(archive(("/rooted.txt", b"x")))
    rig.do(download(tmp_path / "a"))
    assert contents(tmp_path) == {"a/rooted.txt": b"x"}


def test_an_archive_that_unpacks_without_measure_is_refused(rig, served, tmp_path, monkeypatch):
    monkeypatch.setattr("preftune.client.transfer._MAX_UNPACKED", 10)
    served(SOUND)
    with pytest.raises(IntegrityError, match="more than 10 bytes"):
        rig.do(download(tmp_path / "a"))
    assert list(tmp_path.iterdir()) == []


def test_a_fault_of_the_disk_is_told_as_such(rig, served, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("preftune.client.transfer.shutil.copyfileobj", full)
    served(SOUND)
    with pytest.raises(OSError, match="No space left"):
        rig.do(download(tmp_path / "a"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("failure", "kind"), [(404, NotFoundError), (418, APIStatusError), (None, APIConnectionError)])
def test_a_download_that_fails_leaves_nothing_behind(rig, served, tmp_path, failure, kind):
    route = served(b"")
    route.side_effect = [httpx.Response(failure)] if failure else [httpx.ReadError] * 3
    with pytest.raises(kind):
        rig.do(download(tmp_path / "a"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_folder_is_refused_before_anything_is_sent(rig, tmp_path):
    (tmp_path / "a").write_text("mine")
    with pytest.raises(ConfigError) as error:
        rig.do(download(tmp_path / "a"))
    assert str(error.value) == f"to={str(tmp_path / 'a')!r}: expected a folder or nothing, found a file; name a folder"
    assert (tmp_path / "a").read_text() == "mine"
