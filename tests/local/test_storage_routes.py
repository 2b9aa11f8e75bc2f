import hashlib

import pytest

from preftune.local import limits
from preftune.local.signing import Signer
from preftune.local.store import Store


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
    """Begin an upload and return the file's id and the address of its bytes."""
    answer = local.call("POST", "/v1/files", data={"file_name": "pairs.jsonl"} | fields)
    assert answer.status_code == 302, answer.text
    return answer.headers["x-together-file-id"], answer.headers["location"]


def initiated(local, **change):
    body = {"file_name": "pairs.jsonl", "file_size": 4, "num_parts": 2} | change
    return local.call("POST", "/v1/files/multipart/initiate", json=body).json()


def put(local, address, content, **headers):
    return local.call("PUT", address, key=None, content=content, headers=headers)


def kept(store):
    """Return the names of all that lies in the folders of files and uploads."""
    return sorted(path.name for name in ("files", "uploads") for path in (store.folder / name).rglob("*"))


async def meanwhile(act):
    """Yield a body in two pieces; between them, something else happens."""
    yield b'{"text": '
    act()
    yield b'"a"}'


# files


def test_storage_takes_whole_bytes_without_a_key_and_answers_200(local):
    file_id, address = opened(local, checksum=digest(b"abc"))
    answer = put(local, address, b"abc")
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (200, b"", f'"{digest(b"abc")[:32]}"')
    assert (local.get(f"/v1/files/{file_id}")["bytes"], local.get(f"/v1/files/{file_id}")["processing_status"]) == (
        3,
        "PENDING",
    )


def test_bytes_with_another_digest_are_refused_and_leave_nothing(local, store):
    _, address = opened(local, checksum=digest(b"abc"))
    answer = put(local, address, b"ab")
    assert fault(answer) == (400, "invalid_request_error", "checksum")
    assert answer.json()["error"]["message"] == "the 2 bytes that arrived do not have the announced SHA-256"
    assert kept(store) == []


def test_a_checksum_may_be_written_in_capitals(local):
    assert put(local, opened(local, checksum=digest(b"abc").upper())[1], b"abc").status_code == 200


def test_an_upload_may_be_put_again_before_it_is_complete(local):
    file_id, address = opened(local)
    for content in (b"half", b"whole"):
        assert put(local, address, content).status_code == 200
    assert local.call("GET", f"/v1/files/{file_id}/content").content == b"whole"


def test_a_complete_file_takes_no_other_bytes(local):
    file_id, address = opened(local, purpose="eval")
    put(local, address, b"abc")
    local.call("POST", f"/v1/files/{file_id}/preprocess")
    answer = put(local, address, b"other")
    assert fault(answer) == (403, "permission_error", None)
    message = f"file {file_id} is complete; upload other content as another file"
    assert answer.json()["error"]["message"] == message
    assert local.call("GET", f"/v1/files/{file_id}/content").content == b"abc"


def test_a_file_that_is_completed_while_bytes_come_keeps_those_that_it_had(local, store):
    file_id, address = opened(local, purpose="eval")
    put(local, address, b"abc")
    answer = put(local, address, meanwhile(lambda: store.set_file(file_id, status="COMPLETED")))
    assert fault(answer) == (403, "permission_error", None)
    assert local.call("GET", f"/v1/files/{file_id}/content").content == b"abc"


def test_a_deleted_file_takes_no_bytes(local, store):
    file_id, address = opened(local)
    local.call("DELETE", f"/v1/files/{file_id}")
    answer = put(local, address, b"abc")
    assert fault(answer) == (403, "permission_error", None)
    assert answer.json()["error"]["message"] == "the file of this storage address was deleted"
    assert kept(store) == []


def test_a_file_deleted_while_its_bytes_come_leaves_nothing(local, store):
    file_id, address = opened(local)
    answer = put(local, address, meanwhile(lambda: store.delete_file(file_id)))
    assert fault(answer) == (403, "permission_error", None)
    assert kept(store) == []


# parts


def test_a_part_is_taken_without_a_key_and_answered_with_its_tag(local):
    begun = initiated(local)
    for part, content in zip(begun["parts"], (b"ab", b"cd"), strict=True):
        answer = put(local, part["URL"], content)
        shown = (answer.status_code, answer.content, answer.headers["etag"])
        assert shown == (200, b"", f'"{digest(content)[:32]}"')


@pytest.mark.parametrize("end", ["abort", "complete", "delete"])
def test_an_upload_that_has_ended_takes_no_parts(local, store, end):
    begun = initiated(local, purpose="eval")
    first, second = (part["URL"] for part in begun["parts"])
    tags = [put(local, address, b"ab").headers["etag"] for address in (first, second)]
    parts = [{"part_number": number, "etag": tag} for number, tag in enumerate(tags, start=1)]
    body = {"upload_id": begun["upload_id"], "file_id": begun["file_id"], "parts": parts}
    if end == "delete":
        local.call("DELETE", f"/v1/files/{begun['file_id']}")
    else:
        assert local.call("POST", f"/v1/files/multipart/{end}", json=body).status_code == 200
    answer = put(local, first, b"xy")
    assert fault(answer) == (403, "permission_error", None)
    assert answer.json()["error"]["message"] == "the upload of this storage address has ended"


def test_an_upload_that_is_aborted_while_a_part_comes_leaves_nothing(local, store):
    begun = initiated(local)

    def abort():
        store.end_upload(begun["upload_id"])
        store.delete_file(begun["file_id"])

    answer = put(local, begun["parts"][0]["URL"], meanwhile(abort))
    assert fault(answer) == (403, "permission_error", None)
    assert kept(store) == []


# addresses

BROKEN = {
    "a later time": lambda address: address.replace("expires=", "expires=1"),
    "a letter of no ASCII": lambda address: address[:-1] + "%C3%A9",
    "a letter of nothing": lambda address: address[:-1] + "%00",
    "another id": lambda address: address.replace("-", "_", 1),
    "no query": lambda address: address.partition("?")[0],
    "no signature": lambda address: address.partition("&")[0],
    "one letter less": lambda address: address[:-1],
}


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("kind", ["file", "part", "tokens"])
def test_a_changed_address_opens_nothing(local, store, kind, broken):
    method, address = {
        "file": lambda: ("PUT", opened(local)[1]),
        "part": lambda: ("PUT", initiated(local)["parts"][0]["URL"]),
        "tokens": lambda: ("GET", Signer(store).signed("GET", "/storage/tokens/ft-1")),
    }[kind]()
    assert fault(local.call(method, BROKEN[broken](address))) == (403, "permission_error", "signature")
    assert kept(store) == []


def test_an_address_of_one_part_does_not_open_another(local, store):
    begun = initiated(local)
    first, second = (part["URL"] for part in begun["parts"])
    address = second.partition("?")[0] + "?" + first.partition("?")[2]
    assert fault(put(local, address, b"ab")) == (403, "permission_error", "signature")
    assert kept(store) == []


def test_an_address_for_another_method_opens_nothing(local, store):
    file_id, _ = opened(local)
    address = Signer(store).signed("GET", f"/storage/files/{file_id}")
    assert fault(put(local, address, b"abc")) == (403, "permission_error", "signature")


def test_an_expired_address_opens_nothing(local, store, monkeypatch):
    monkeypatch.setattr(limits, "SIGNED_FOR", -10)
    addresses = [opened(local)[1], initiated(local)["parts"][0]["URL"]]
    assert [fault(put(local, one, b"abc")) for one in addresses] == [(403, "permission_error", "expires")] * 2
    tokens = local.call("GET", Signer(store).signed("GET", "/storage/tokens/ft-1"), key=None)
    assert fault(tokens) == (403, "permission_error", "expires")
    assert kept(store) == []


def test_an_address_outlives_a_restart_on_the_same_folder(local, store):
    file_id, address = opened(local)
    part = initiated(local)["parts"][0]["URL"]
    again = Store(store.folder)
    again.prepare()
    restarted = type(local)(again)
    assert [put(restarted, one, b"abc").status_code for one in (address, part)] == [200, 200]
    assert again.file(file_id)["bytes"] == 3
    again.close()


# bounds


@pytest.mark.parametrize("told", [True, False], ids=["with its length", "without its length"])
def test_bytes_over_the_bound_of_a_file_are_refused_and_leave_nothing(local, store, monkeypatch, told):
    monkeypatch.setattr(limits, "MAX_FILE", 10)
    _, address = opened(local)

    async def body():
        for _ in range(11):
            yield b"x"

    answer = put(local, address, b"x" * 11 if told else body())
    assert fault(answer) == (413, "invalid_request_error", None)
    assert kept(store) == []
    assert put(local, address, b"x" * 10).status_code == 200


def test_bytes_that_are_announced_as_too_many_are_not_waited_for(local, store):
    _, address = opened(local)
    answer = put(local, address, b"x", **{"content-length": str(limits.MAX_FILE + 1)})
    assert fault(answer) == (413, "invalid_request_error", None)
    assert kept(store) == []


def test_bytes_over_the_bound_of_json_are_taken(local):
    assert put(local, opened(local)[1], b"x" * (limits.MAX_BODY + 1)).status_code == 200


# tokens


def test_tokens_are_sent_in_ranges_without_a_key(local, store):
    path = store.tokenized_path("ft-1")
    path.parent.mkdir()
    path.write_bytes(b"0123456789")
    address = Signer(store).signed("GET", "/storage/tokens/ft-1")
    whole = local.call("GET", address, key=None)
    assert (whole.status_code, whole.content, whole.headers["content-type"]) == (
        200,
        b"0123456789",
        "application/octet-stream",
    )
    part = local.call("GET", address, key=None, headers={"range": "bytes=-2"})
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"89", "bytes 8-9/10")


def test_tokens_that_are_not_there_are_not_found(local, store):
    answer = local.call("GET", Signer(store).signed("GET", "/storage/tokens/ft-1"), key=None)
    assert fault(answer) == (404, "not_found_error", None)
