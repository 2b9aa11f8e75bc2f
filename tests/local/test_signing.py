from urllib.parse import parse_qsl

import pytest

from preftune.local import limits
from preftune.local.refusal import Refused
from preftune.local.signing import Signer
from preftune.local.store import Store


def query_of(address):
    return dict(parse_qsl(address.partition("?")[2]))


def refused(signer, method, path, query):
    """Return status, field and words of the refusal of an address."""
    with pytest.raises(Refused) as caught:
        signer.check(method, path, query)
    return caught.value.status, caught.value.param, caught.value.message


INVALID = (403, "signature", "the signature of the storage address is not valid")


def test_a_signed_address_opens_its_path_for_its_method(store):
    signer = Signer(store)
    address = signer.signed("PUT", "/storage/files/file-1")
    assert address.partition("?")[0] == "/storage/files/file-1"
    assert sorted(query_of(address)) == ["expires", "signature"]
    signer.check("PUT", "/storage/files/file-1", query_of(address))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/storage/files/file-1"),
        ("PUT", "/storage/files/"),
        ("PUT", "/storage/files/file-1/"),
        ("PUT", "/storage/files/file-2"),
        ("PUT", "/storage/parts/file-1/1"),
        ("PUT", "/storage/files/file-\ud800"),
        ("put", "/storage/files/file-1"),
    ],
)
def test_a_signed_address_opens_nothing_else(store, method, path):
    signer = Signer(store)
    query = query_of(signer.signed("PUT", "/storage/files/file-1"))
    assert refused(signer, method, path, query) == INVALID


@pytest.mark.parametrize(
    "change",
    [
        lambda q: {},
        lambda q: {"signature": q["signature"]},
        lambda q: {"expires": q["expires"]},
        lambda q: q | {"signature": ""},
        lambda q: q | {"signature": q["signature"][:-1]},
        lambda q: q | {"signature": q["signature"].upper() + "\n"},
        lambda q: q | {"signature": "é" * 64},
        lambda q: q | {"signature": "0" * 64},
        lambda q: q | {"expires": str(int(q["expires"]) + 1)},
        lambda q: q | {"expires": f"{q['expires']} "},
        lambda q: q | {"expires": "never"},
        lambda q: q | {"expires": ""},
    ],
    ids=[
        "no query", "no time", "no signature", "empty", "short", "capitals", "no ASCII", "zeros", "a later time",
        "a space", "no number", "no value",
    ],
)  # fmt: skip
def test_a_changed_address_opens_nothing(store, change):
    signer = Signer(store)
    query = query_of(signer.signed("PUT", "/storage/files/file-1"))
    assert refused(signer, "PUT", "/storage/files/file-1", change(query)) == INVALID


def test_an_address_expires_and_says_when(store, monkeypatch):
    monkeypatch.setattr(limits, "SIGNED_FOR", -10)
    signer = Signer(store)
    status, param, message = refused(signer, "PUT", "/x", query_of(signer.signed("PUT", "/x")))
    assert (status, param) == (403, "expires")
    assert message.startswith("the storage address expired at 2")
    assert message.endswith("+00:00; ask for a new one")


def test_an_address_outlives_a_restart_on_the_same_folder(store):
    query = query_of(Signer(store).signed("PUT", "/x"))
    again = Store(store.folder)
    again.prepare()
    Signer(again).check("PUT", "/x", query)
    again.close()


def test_an_address_of_another_folder_opens_nothing(store, tmp_path):
    other = Store(tmp_path / "other")
    other.prepare()
    assert refused(Signer(store), "PUT", "/x", query_of(Signer(other).signed("PUT", "/x"))) == INVALID
    other.close()
