import logging

import httpx
import pytest

import preftune as pt


@pytest.mark.parametrize("name", ["httpx", "httpcore.http11"])
def test_no_logger_says_the_query_of_an_address(name, caplog):
    assert pt.Client(api_key="k", base_url="http://127.0.0.1:1").files  # the drivers are loaded with the first resource
    with caplog.at_level(logging.DEBUG, logger=name):
        url = httpx.URL("http://storage.test/file-1?token=secret")
        logging.getLogger(name).info('HTTP Request: %s %s "%d"', "PUT", url, 200)
    assert [record.getMessage() for record in caplog.records] == [
        'HTTP Request: PUT http://storage.test/file-1?… "200"'
    ]
