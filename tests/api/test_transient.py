import pytest

from preftune.api.transient import is_transient, pause
from preftune.errors import APIConnectionError, APIError, APIResponseValidationError, APITimeoutError, DataError

PLACE = {"method": "GET", "path": "/x"}


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 524, 529])
def test_these_statuses_pass_by_themselves(status, refused):
    assert is_transient(refused(status))


@pytest.mark.parametrize("status", [302, 400, 401, 402, 403, 404, 410, 413, 422, 425])
def test_other_statuses_do_not(status, refused):
    assert not is_transient(refused(status))


@pytest.mark.parametrize("kind", [APIConnectionError, APITimeoutError])
def test_a_missing_answer_passes_by_itself(kind):
    assert is_transient(kind("m", **PLACE))


@pytest.mark.parametrize(
    "error", [APIError("m", **PLACE), APIResponseValidationError("m", **PLACE), DataError("m"), KeyError()]
)
def test_other_errors_do_not(error):
    assert not is_transient(error)


def test_a_conflict_is_not_retried_where_it_means_a_duplicate(refused):
    assert not is_transient(refused(409), retry_conflict=False)


@pytest.mark.parametrize(("status", "hint"), [(400, True), (500, False), (409, True)])
def test_the_servers_word_beats_every_rule(status, hint, refused):
    assert is_transient(refused(status, retry_hint=hint), retry_conflict=False) is hint


@pytest.mark.parametrize(("seconds", "expected"), [(0.0, True), (120.0, True), (120.1, False)])
def test_a_wait_of_more_than_two_minutes_is_not_worth_it(seconds, expected, refused):
    assert is_transient(refused(503, retry_after=seconds, retry_hint=True)) is expected


@pytest.mark.parametrize(
    ("attempt", "seconds"), [(0, 0.5), (1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 8.0), (9999, 8.0)]
)
def test_pauses_double_up_to_eight_seconds(attempt, seconds):
    assert pause(APIConnectionError("m", **PLACE), attempt, 0.0) == seconds
    assert pause(None, attempt, 1.0) == seconds * 0.75


@pytest.mark.parametrize("seconds", [0.0, 0.02, 90.0])
def test_the_pause_that_the_server_asks_for_is_honoured_to_the_letter(seconds, refused):
    assert pause(refused(429, retry_after=seconds), 3, 1.0) == seconds
