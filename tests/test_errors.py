import copy
import inspect
import pickle
import re

import pytest

from preftune import errors
from preftune.errors import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigError,
    ConflictError,
    DataError,
    FileProcessingError,
    InternalServerError,
    JobFailedError,
    NotFoundError,
    PermissionDeniedError,
    PreftuneError,
    RateLimitError,
    UnprocessableEntityError,
    status_class,
    status_message,
)

PLACE = {"method": "GET", "path": "/x"}


def drawn_tree() -> dict[str, tuple[str, bool]]:
    """Return the classes that the file's first lines draw: name to (parent, also a ValueError)."""
    parents, tree = {0: "PreftuneError"}, {}
    for line in errors.__doc__.split("PreftuneError\n", 1)[1].split("\n\n", 1)[0].splitlines():
        depth = re.search(r"[├└]", line).start() // 4
        for name in re.findall(r"[A-Z]\w+Error\b(?!\))", line):
            if name != "ValueError":
                tree[name] = (parents[depth], f"{name} (ValueError)" in line)
                parents[depth + 1] = name
    return tree


def test_the_tree_at_the_top_is_the_tree_of_classes():
    classes = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, PreftuneError)]
    real = {kind.__name__: (kind.__bases__[0].__name__, issubclass(kind, ValueError)) for kind in classes}
    del real["PreftuneError"]
    assert drawn_tree() == real


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, APIStatusError),
        (400, BadRequestError),
        (401, AuthenticationError),
        (402, APIStatusError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (409, ConflictError),
        (418, APIStatusError),
        (422, UnprocessableEntityError),
        (429, RateLimitError),
        (500, InternalServerError),
        (529, InternalServerError),
    ],
)
def test_each_status_has_its_class(status, kind):
    assert status_class(status) is kind


@pytest.mark.parametrize(
    ("path", "status", "body", "sentence"),
    [
        (
            "/fine-tunes/ft-9",
            404,
            {"error": {"message": "no such job", "type": "not_found"}},
            "GET /fine-tunes/ft-9: 404, no such job; list yours with client.fine_tuning.list()",
        ),
        ("/files/f", 404, {"message": "gone"}, "GET /files/f: 404, gone; list yours with client.files.list()"),
        ("/fine-tunes/models/limits", 404, {"message": "unknown"}, "GET /fine-tunes/models/limits: 404, unknown"),
        ("/x", 400, {"error": "bad"}, "GET /x: 400, bad"),
        ("/x", 400, {"error": None}, "GET /x: 400, {'error': None}"),
        ("/x", 500, {"detail": "odd"}, "GET /x: 500, {'detail': 'odd'}"),
        ("/x", 500, "<html>\n  oops </html>", "GET /x: 500, <html> oops </html>"),
        ("/x", 500, "y" * 999, f"GET /x: 500, {'y' * 200}"),
        ("/x", 500, None, "GET /x: 500, no reason given"),
        ("/x", 500, " \n", "GET /x: 500, no reason given"),
        *(
            (
                "/x",
                status,
                None,
                f"GET /x: {status}, no reason given; the API sends its callers elsewhere; is base_url its own address?",
            )
            for status in (301, 302, 303, 307, 308)
        ),
        ("/x", 300, None, "GET /x: 300, no reason given"),
        ("/x", 304, None, "GET /x: 304, no reason given"),
        ("/x", 401, None, "GET /x: 401, no reason given; check PREFTUNE_API_KEY (or TOGETHER_API_KEY)"),
        (
            "/x",
            402,
            None,
            (
                "GET /x: 402, no reason given; "
                "the account's spending limit is reached; raise it in the provider's settings"
            ),
        ),
        ("/x", 403, None, "GET /x: 403, no reason given; this key has no right to it; ask for another"),
        ("/x", 429, None, "GET /x: 429, no reason given; slow down, or raise max_retries"),
    ],
)
def test_a_message_says_where_what_and_what_to_do(path, status, body, sentence):
    assert status_message("GET", path, status, body) == sentence


@pytest.mark.parametrize(("status", "ambiguous"), [(400, False), (408, True), (409, False), (429, False), (500, True)])
def test_a_status_tells_whether_the_request_may_have_taken_effect(status, ambiguous):
    assert APIStatusError("m", **PLACE, status=status).ambiguous is ambiguous


ALL = [
    PreftuneError("m"),
    DataError("m", ["finding"]),
    ConfigError("m"),
    APIError("m", **PLACE),
    APIConnectionError("m", **PLACE, ambiguous=True),
    APITimeoutError("m", **PLACE),
    RateLimitError("m", **PLACE, status=429, body={"a": [1]}, request_id="r", retry_after=3.0, retry_hint=True),
    APIResponseValidationError("m", **PLACE),
    FileProcessingError("m", {"nlines": 3}),
    JobFailedError("m", job={"id": "ft-1"}, events=[1, 2]),
]


@pytest.mark.parametrize("error", ALL, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("again", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])  # noqa: S301
def test_an_error_crosses_processes_whole(error, again):
    other = again(error)
    assert (type(other), str(other), other.args, vars(other)) == (type(error), str(error), error.args, vars(error))


def test_data_and_config_errors_are_value_errors():
    assert issubclass(DataError, ValueError)
    assert issubclass(ConfigError, ValueError)
