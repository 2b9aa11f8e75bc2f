import json

import pytest

from preftune.local import validate

CHAT = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]
PAIR = {
    "input": {"messages": [{"role": "user", "content": "hi"}]},
    "preferred_output": [{"role": "assistant", "content": "yes"}],
    "non_preferred_output": [{"role": "assistant", "content": "no"}],
}


@pytest.fixture
def report_of(tmp_path):
    def report(*rows):
        path = tmp_path / "file-1"
        path.write_bytes(
            b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows)
        )
        return validate.report(path, "mine.jsonl")

    return report


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (PAIR, "preference_openai"),
        ({"messages": CHAT}, "conversation"),
        ({"prompt": "a", "completion": "b"}, "instruction"),
        ({"text": "a"}, "general"),
    ],
)
def test_each_layout_is_recognised_and_its_rows_counted(report_of, row, kind):
    other = json.loads(json.dumps(row).replace("yes", "sure"))
    assert report_of(row, other) == {"valid": True, "dataset_format": kind, "nlines": 2}


@pytest.mark.parametrize(
    ("row", "kind", "messages"),
    [
        ({"messages": CHAT}, "conversation", CHAT),
        (
            {"prompt": "a", "completion": "b"},
            "instruction",
            [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
        ),
        ({"text": "a"}, "general", [{"role": "assistant", "content": "a"}]),
    ],
)
def test_every_supervised_layout_reads_as_messages(row, kind, messages):
    assert validate.supervised_messages(row, kind) == messages


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        ({"messages": []}, "messages must be a list of at least one message"),
        ({"messages": "hi"}, "messages must be a list of at least one message"),
        ({"messages": ["hi"]}, "messages[0] must be an object with a role, one of system, user, assistant, tool"),
        (
            {"messages": [{"role": "bot", "content": "x"}]},
            "messages[0] must be an object with a role, one of system, user, assistant, tool",
        ),
        (
            {"messages": [{"role": ["user"], "content": "x"}]},
            "messages[0] must be an object with a role, one of system, user, assistant, tool",
        ),
        (
            {"messages": [*CHAT, {"role": "user", "content": None}]},
            "messages[2].content must be text or a list of content parts",
        ),
        ({"messages": CHAT[:1]}, "messages must hold an answer of the assistant"),
        ({"prompt": 5, "completion": "b"}, "prompt is a number; it must be text"),
        ({"prompt": "a", "completion": None}, "completion is null; it must be text"),
        ({"text": ["a"]}, "text is a list; it must be text"),
    ],
)
def test_a_supervised_row_is_refused_for_its_shape(report_of, row, wrong):
    kind = {"messages": "conversation", "prompt": "instruction", "text": "general"}[next(iter(row))]
    assert report_of(row) == {
        "valid": False,
        "dataset_format": kind,
        "error": f"Line 1: {wrong}",
        "error_type": "INVALID_FORMAT",
    }


def test_an_assistant_may_call_tools_in_place_of_text(report_of):
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    rows = {
        "messages": [CHAT[0], {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "content": "5"}, CHAT[1]]
    }
    assert report_of(rows)["valid"]


def test_content_may_be_a_list_of_parts(report_of):
    parts = [{"type": "text", "text": "hi"}]
    assert report_of({"messages": [{"role": "user", "content": parts}, CHAT[1]]})["valid"]


def test_a_file_has_the_format_of_its_first_row(report_of):
    expected = "expected a row of the conversation format like the first, found the keys text"
    assert report_of({"messages": CHAT}, {"text": "a"})["error"] == f"Line 2: {expected}"
    assert report_of({"text": "a"}, {})["error"].endswith("format like the first, found the keys none")


def test_the_first_line_that_does_not_read_is_named(report_of):
    found = report_of({"text": "a"}, b"", b"{broken", b"[1]")
    assert (found["valid"], found["dataset_format"], found["error"].partition(":")[0]) == (False, "general", "Line 3")


def test_blank_lines_and_a_byte_order_mark_do_not_hide_a_row(report_of):
    assert report_of(b"", b"  ", {"text": "a"}) == {"valid": True, "dataset_format": "general", "nlines": 1}
    assert report_of(b'\xef\xbb\xbf{"text": "a"}')["nlines"] == 1


def test_a_preference_file_is_refused_with_line_reason_and_remedy(report_of):
    two = PAIR | {"preferred_output": [*PAIR["preferred_output"], *PAIR["preferred_output"]]}
    found = report_of(PAIR, two)
    assert (found["valid"], found["dataset_format"], found["error_type"]) == (
        False,
        "preference_openai",
        "INVALID_FORMAT",
    )
    assert found["error"].startswith("Line 2: preferred_output")
    assert "; " in found["error"]


def test_a_fault_of_a_line_comes_in_the_order_of_lines(report_of):
    assert report_of(PAIR, b"{", PAIR | {"preferred_output": []})["error"].startswith("Line 2: ")


@pytest.mark.parametrize("content", [b"", b"\n\n", b"{}"])
def test_a_file_without_a_row_of_any_format_is_refused(report_of, content):
    found = report_of(content)
    assert (found["valid"], found["error_type"]) == (False, "INVALID_FORMAT")


def test_a_file_without_pairs_is_refused_by_its_own_name(report_of):
    assert report_of(b"")["error"].startswith("mine.jsonl: ")


def test_only_what_the_hosted_side_refuses_for_refuses_a_file(report_of):
    same = PAIR | {"non_preferred_output": PAIR["preferred_output"]}
    flipped = PAIR | {
        "preferred_output": PAIR["non_preferred_output"],
        "non_preferred_output": PAIR["preferred_output"],
    }
    assert report_of(same)["valid"]
    assert report_of(PAIR, PAIR, flipped) == {"valid": True, "dataset_format": "preference_openai", "nlines": 3}


@pytest.mark.parametrize("file_type", ["csv", "parquet"])
def test_a_file_of_another_type_is_refused_by_its_name(tmp_path, file_type):
    path = tmp_path / "file-1"
    path.write_text('{"text": "a"}\n')
    assert validate.report(path, "mine", file_type) == {
        "valid": False,
        "dataset_format": None,
        "error": f"mine: the local server trains on JSON lines alone, found {file_type}; send jsonl",
        "error_type": "INVALID_FORMAT",
    }
