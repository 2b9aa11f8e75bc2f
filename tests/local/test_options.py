import pytest

from preftune.local.faults import Faults
from preftune.local.options import Options, RecordedRequest


def recorded(body):
    return RecordedRequest("POST", "/v1/fine-tunes", {}, {}, body, 200, 0.01)


@pytest.mark.parametrize(("body", "value"), [(b'{"model": "m"}', {"model": "m"}), (b"[1]", [1]), (b"null", None)])
def test_a_recorded_body_is_read_as_json(body, value):
    assert recorded(body).json == value


@pytest.mark.parametrize("body", [b"", b"file_name=a.jsonl", b'{"cut off": ', b"\xff\xfe\x00"])
def test_a_recorded_body_that_is_no_json_is_a_value_error(body):
    with pytest.raises(ValueError, match=r"JSON|Expecting|decode|delimiter"):
        _ = recorded(body).json


def test_a_server_has_rules_and_a_record_of_its_own():
    first, second = Options(api_key="k"), Options(api_key="k")
    first.faults.add("* drop")
    first.requests.append(recorded(b""))
    assert isinstance(second.faults, Faults)
    assert (list(second.faults), list(second.requests), second.event_case) == ([], [], "lower")


def test_the_record_forgets_the_oldest_of_more_than_two_thousand():
    options = Options(api_key="k")
    for number in range(2001):
        options.requests.append(recorded(b"%d" % number))
    assert [request.json for request in options.requests] == list(range(1, 2001))
