from urllib.parse import quote

import pytest

from preftune.api.steps import Into, Part, Request, Response
from preftune.client import exchange
from preftune.client.connection import Connection
from preftune.errors import APIError, APIStatusError, BadRequestError, IntegrityError

KEY = "secret-key-of-mine"
SIGNATURE = "a+b/c=12345678"
SIGNED = f"https://storage.test/p?expires=3600&signature={quote(SIGNATURE, safe='')}"


def refused(request, words, *, headers=None, key=KEY, **settings):
    """Return the error that an answer with these words is."""
    came = Response(400, headers or {}, words.encode(), request)
    with pytest.raises(APIStatusError) as error:
        exchange.answer(request, came, Connection(api_key=key, **settings))
    return error.value


@pytest.mark.parametrize(
    ("key", "said"), [("secret-key-of-mine", "the key … is unknown"), ("unknown", "the key unknown is unknown")]
)
def test_an_echoed_key_is_cut_out_unless_it_is_but_a_word(key, said):
    error = refused(Request("GET", "/x"), f'{{"error": {{"message": "the key {key} is unknown"}}}}', key=key)
    assert (type(error), str(error)) == (BadRequestError, f"GET /x: 400, {said}")


@pytest.mark.parametrize("name", ["wandb_key", "hf_api_token"])
@pytest.mark.parametrize("where", ["json", "extra_body"])
def test_an_echoed_key_of_another_service_is_cut_out(name, where):
    sent, settings = ({name: "hidden-away"}, {}) if where == "json" else ({}, {"extra_body": {name: "hidden-away"}})
    error = refused(Request("POST", "/x", json=sent), "hidden-away is unknown", **settings)
    assert (error.body, str(error)) == ("… is unknown", "POST /x: 400, … is unknown")


def test_an_echoed_header_of_ones_own_is_cut_out():
    error = refused(
        Request("GET", "/x"), "Bearer another-key is unknown", extra_headers={"authorization": "another-key"}
    )
    assert error.body == "Bearer … is unknown"


@pytest.mark.parametrize("json", [None, [1], {"wandb_key": None}])
def test_a_body_without_keys_of_others_changes_nothing(json):
    assert refused(Request("POST", "/x", json=json), "None is unknown").body == "None is unknown"


@pytest.mark.parametrize("spelling", [SIGNATURE, quote(SIGNATURE, safe="")])
def test_an_echoed_signature_is_cut_out_however_it_is_spelled(spelling):
    error = refused(Request("PUT", SIGNED), f"<Provided>{spelling}</Provided> in 3600 s")
    assert (error.body, error.path) == ("<Provided>…</Provided> in 3600 s", "https://storage.test/p")


@pytest.mark.parametrize("location", [SIGNED, SIGNED.removeprefix("https://storage.test")])
def test_a_signature_in_a_location_is_cut_out_of_the_words_beside_it(location):
    error = refused(Request("GET", "/x"), f"<a href='{location}'>Found</a>", headers={"location": location})
    assert SIGNATURE not in error.body
    assert quote(SIGNATURE, safe="") not in error.body


@pytest.mark.parametrize(
    ("path", "base_url", "expected"),
    [
        ("/x", "http://api.test", ("api", False)),
        ("/x", "https://api.test", ("api", True)),
        ("http://api.test/x", "https://api.test", ("storage", False)),
        ("https://storage.test/x", "http://api.test", ("storage, TLS", True)),
    ],
)
def test_an_absolute_address_leaves_through_another_client(path, base_url, expected):
    assert exchange.destination(Request("GET", path), Connection(api_key="k", base_url=base_url)) == expected


def test_an_absolute_address_gets_nothing_of_the_api():
    connection = Connection(
        api_key=KEY, extra_headers={"x-a": "1"}, extra_query={"q": 1}, extra_body={"b": 1}, proxy="http://u:p@h:1"
    )
    body = Part("f", start=3, size=7, head=b"<", tail=b">")
    request = Request("PUT", SIGNED, body=body, headers={"x-part": "1"})
    assert exchange.arguments(request, connection, b"content") == {
        "method": "PUT",
        "url": SIGNED,
        "headers": {"x-part": "1", "content-length": "9"},
        "content": b"content",
    }


@pytest.mark.parametrize(
    ("status", "headers", "at"),
    [
        (206, {"content-range": "bytes 5-9/10", "etag": "t"}, 5),
        (206, {"content-range": "bytes 5-9/10"}, 5),
        (200, {"etag": "t"}, 0),
        (200, {}, 0),
    ],
)
def test_an_answer_goes_on_where_it_says_and_only_there(status, headers, at):
    assert exchange.place(Into("f", at=5, tag="t"), status, headers) == at


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (206, {"content-range": "bytes 5-9/10", "etag": "other"}),
        (200, {"etag": "other"}),
        (206, {"content-range": "bytes 4-9/10"}),
        (206, {}),
    ],
)
def test_an_answer_of_another_object_or_range_has_no_place(status, headers):
    with pytest.raises(IntegrityError, match="begin again"):
        exchange.place(Into("f", at=5, tag="t"), status, headers)


@pytest.mark.parametrize("status", [200, 206])
def test_an_answer_that_is_packed_on_its_way_has_no_place(status):
    headers = {"content-encoding": "gzip", "content-range": "bytes 5-9/10"}
    with pytest.raises(IntegrityError) as error:
        exchange.place(Into("f", at=5), status, headers)
    assert str(error.value) == "download: expected the bytes as they are, found gzip; is a proxy in between?"


def test_an_https_api_sends_nobody_to_a_storage_in_plain_text():
    with pytest.raises(APIError) as error:
        exchange.arguments(
            Request("PUT", "http://storage.test/p?sig=s"), Connection(api_key=KEY, base_url="https://api.test"), b""
        )
    assert str(error.value) == (
        "PUT http://storage.test/p: expected https, as for the API itself, found http; nothing was sent, "
        "tell the provider"
    )
    assert (error.value.method, error.value.path) == ("PUT", "http://storage.test/p")


def test_without_a_tag_any_object_has_its_place():
    assert exchange.place(Into("f"), 206, {"content-range": "bytes 0-1/2", "etag": "any"}) == 0
