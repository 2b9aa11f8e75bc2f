import logging

import httpx
import pytest

import preftune as pt

LOGGERS = ["httpx", "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy", "httpcore.socks"]
HEADERS = """headers=[(b'Location', b'%s'), (b"X-Odd", b"it's"), (b'Etag', b'"a"')]"""
SHOWN = "headers=[(Location, …), (X-Odd, …), (Etag, …)]"


@pytest.fixture(autouse=True)
def _drivers():
    assert pt.Client(api_key="k", base_url="http://127.0.0.1:1").files  # the drivers are loaded with the first resource


@pytest.mark.parametrize("name", LOGGERS)
@pytest.mark.parametrize(
    ("said", "arguments", "shown"),
    [
        (
            'HTTP Request: %s %s "%d"',
            ("PUT", httpx.URL("http://storage.test/file-1?token=secret"), 200),
            'HTTP Request: PUT http://storage.test/file-1?… "200"',
        ),
        (HEADERS % "https://storage.test/p?sig=secret", (), SHOWN),
        (HEADERS % "/p?sig=secret&more=100%", (), SHOWN),
        (HEADERS % "an echo of the key", (), SHOWN),
        ("http://a/?x=1 then http://b/?y=2", (), "http://a/?… then http://b/?…"),
        ("without a query: 100%", (), "without a query: 100%"),
    ],
)
def test_no_logger_says_the_query_of_an_address_or_the_value_of_a_header(name, said, arguments, shown, caplog):
    with caplog.at_level(logging.DEBUG, logger=name):
        logging.getLogger(name).info(said, *arguments)
    assert [record.getMessage() for record in caplog.records] == [shown]
