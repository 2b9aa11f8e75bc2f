import json
import re
from pathlib import Path

import pytest

from preftune.errors import DataError
from preftune.pairs import SftExport, sources, to_sft

SYSTEM, USER = {"role": "system", "content": "s"}, {"role": "user", "content": "Q\u2028?"}
CHOSEN, REJECTED = {"role": "assistant", "content": "é"}, {"role": "assistant", "content": "b"}
TOOLS = [{"type": "function", "function": {"name": "f"}}]
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLING = {"role": "assistant", "tool_calls": [CALL]}
RESULT = {"role": "tool", "content": "7", "tool_call_id": "1"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
PKU = {"prompt": "Q?", "response_0": "a", "response_1": "b", "better_response_id": 0, "safer_response_id": 1}


def row(*messages, chosen=CHOSEN, weight=None, **given):
    """Return a preference row; `given` stands in its input."""
    weighted = {} if weight is None else {"weight": weight}
    context = {"messages": list(messages) or [USER], **given}
    return {"input": context, "preferred_output": [chosen], "non_preferred_output": [REJECTED], **weighted}


@pytest.fixture
def export(write_rows, tmp_path):
    """Return a function that exports rows and returns what was done and the rows written."""

    def export(*rows, **options):
        done = to_sft(write_rows(*rows), tmp_path / "sft.jsonl", **options)
        return done, [json.loads(raw) for raw in done.path.read_bytes().splitlines()]

    return export


def refuses(message):
    return pytest.raises(DataError, match=f"^{re.escape(message)}$")


# The layouts


def test_conversational_rows_are_the_context_with_the_chosen_answer(export, tmp_path):
    turns = [SYSTEM, USER, {"role": "assistant", "content": "a", "weight": 0}, USER]
    reasoned = CHOSEN | {"reasoning": "r"}
    done, written = export(row(*turns), row(tools=TOOLS, chosen=reasoned), row(USER, CALLING, RESULT, tools=TOOLS))
    assert written == [
        {"messages": [*turns, CHOSEN]},
        {"messages": [USER, reasoned], "tools": TOOLS},
        {"messages": [USER, CALLING, RESULT, CHOSEN], "tools": TOOLS},
    ]
    assert done == SftExport(tmp_path / "sft.jsonl", 3, 0, {})


def test_rows_are_written_in_plain_utf_8_one_a_line(export):
    done, _ = export(row(), row())
    line = '{"messages": [{"role": "user", "content": "Q\u2028?"}, {"role": "assistant", "content": "é"}]}\n'
    assert done.path.read_bytes() == 2 * line.encode()


def test_instruction_rows_have_the_bare_question_or_a_transcript_that_ends_where_the_answer_begins(export):
    turns = [SYSTEM, USER, {"role": "assistant", "content": "a"}, {"role": "user", "content": "R?"}]
    _, written = export(row(), row(*turns), row(SYSTEM), row({"role": "assistant", "content": "Hi"}, USER),
                        layout="instruction")  # fmt: skip
    assert written == [
        {"prompt": "Q\u2028?", "completion": "é"},
        {"prompt": "System: s\n\nUser: Q\u2028?\n\nAssistant: a\n\nUser: R?\n\nAssistant:", "completion": "é"},
        {"prompt": "System: s\n\nAssistant:", "completion": "é"},
        {"prompt": "Assistant: Hi\n\nUser: Q\u2028?\n\nAssistant:", "completion": "é"},
    ]


def test_text_rows_are_a_transcript_of_all_turns(export):
    _, written = export(row(), row(SYSTEM, USER, {"role": "assistant", "content": "a"}, USER), layout="text")
    assert written == [
        {"text": "User: Q\u2028?\n\nAssistant: é"},
        {"text": "System: s\n\nUser: Q\u2028?\n\nAssistant: a\n\nUser: Q\u2028?\n\nAssistant: é"},
    ]


@pytest.mark.parametrize(
    ("layout", "written"),
    [
        ("instruction", {"prompt": "User: Q\u2028?\n\nAssistant: \n\nTool: 7\n\nAssistant:", "completion": "é"}),
        ("text", {"text": "User: Q\u2028?\n\nAssistant: \n\nTool: 7\n\nAssistant: é"}),
    ],
)
def test_what_a_text_layout_cannot_hold_is_named_and_counted_in_rows(export, layout, written):
    seen = {"role": "user", "content": [{"type": "text", "text": "look"}, IMAGE], "name": "Ann", "weight": 0}
    calls = row(USER, CALLING, RESULT, tools=TOOLS, parallel_tool_calls=False)
    done, rows = export(calls, row(seen), row(chosen=CHOSEN | {"reasoning": "r"}), row(), layout=layout)
    assert rows[0] == written
    assert "look" in str(rows[1])
    assert done.lost == {
        "content other than text": 1, "name": 1, "parallel_tool_calls": 1, "reasoning": 1, "tool_call_id": 1,
        "tool_calls": 1, "tools": 1, "weight": 1,
    }  # fmt: skip


def test_conversational_rows_lose_the_choice_of_parallel_calls_alone(export):
    done, written = export(row(tools=TOOLS, parallel_tool_calls=True), row())
    assert done.lost == {"parallel_tool_calls": 1}
    assert written[0] == {"messages": [USER, CHOSEN], "tools": TOOLS}


def test_an_unknown_layout_is_refused(export, tmp_path):
    with refuses("layout='chat': expected one of conversational, instruction, text; choose one of them"):
        export(row(), layout="chat")
    assert not (tmp_path / "sft.jsonl").exists()


# Weights


@pytest.mark.parametrize("layout", ["conversational", "instruction", "text"])
def test_what_is_to_train_nothing_is_left_out_and_other_weights_go_along(export, layout):
    done, written = export(row(weight=0), row(weight=0.5), row(weight=2), row(), row(weight=0.0), layout=layout)
    assert (done.rows, done.skipped) == (3, 2)
    assert [each.get("weight") for each in written] == [0.5, 2, None]


# Sources


def test_any_layout_is_read_and_choices_reach_its_reader(export):
    question = {"role": "user", "content": "Q?"}
    for label, chosen in (("better", "a"), ("safer", "b")):
        _, written = export(PKU, label=label)
        assert written == [{"messages": [question, {"role": "assistant", "content": chosen}]}]
    several = {"instruction": "Q?", "generations": ["a", "b", "c"], "ratings": [1, 2, 3]}
    assert export(several, pairing="all")[0].rows == 3
    tie = {"prompt": "Q?", "response 1": "a", "response 2": "b", "label": 2}
    assert export(tie, tie | {"label": 1}, ties="drop")[0].rows == 1
    fields = {"prompt": "q", "chosen": "good", "rejected": "bad"}
    assert export({"q": "Q?", "good": "a", "bad": "b"}, source=fields)[0].rows == 1
    assert export({"prompt": "Q?", "chosen": "a", "rejected": "b"}, {}, source="trl", unfit="drop")[0].rows == 1


# What is refused, and leaves nothing


def test_a_row_that_cannot_be_read_is_named(export, tmp_path):
    with refuses(
        "pairs.jsonl:2: preferred_output is a list of 0; it must be a list of exactly one message; mend the row, "
        "or leave such rows out with unfit='drop'"
    ):
        export(row(), row() | {"preferred_output": []})
    assert list(tmp_path.iterdir()) == [tmp_path / "pairs.jsonl"]


@pytest.mark.parametrize(
    ("rows", "options", "found"),
    [
        ([row(weight=0)], {}, "1 pair of weight 0 or without text"),
        ([row(weight=0)] * 1_200, {}, "1,200 pairs of weight 0 or without text"),
        ([row(weight=0), row(chosen=CALLING, tools=TOOLS)], {"layout": "text"}, "2 pairs of weight 0 or without text"),
        ([], {"source": "trl"}, "none"),
        ([{}], {"source": "trl", "unfit": "drop"}, "none"),
    ],
)
def test_a_source_with_nothing_to_train_on_is_refused(export, tmp_path, rows, options, found):
    message = f"pairs.jsonl: expected pairs to train on, found {found}; look at the weights and the layout"
    with refuses(message):
        export(*rows, **options)
    assert list(tmp_path.iterdir()) == [tmp_path / "pairs.jsonl"]


@pytest.mark.parametrize("chosen", [CALLING, CALLING | {"content": " \n"}, CHOSEN | {"content": ""}])
@pytest.mark.parametrize("layout", ["instruction", "text"])
def test_an_answer_without_text_is_left_out_of_a_layout_of_text(export, layout, chosen):
    given = row(chosen=chosen, tools=TOOLS)
    trl = {"prompt": given["input"]["messages"], "chosen": [chosen], "rejected": [REJECTED], "tools": TOOLS}
    good = {"prompt": [USER], "chosen": [CHOSEN], "rejected": [REJECTED]}
    done, written = export(good, trl, layout=layout)
    assert (done.rows, done.skipped, len(written), done.lost) == (1, 1, 1, {})
    done, written = export(good, trl)
    assert (done.rows, done.skipped, written[1]["messages"][-1]) == (2, 0, chosen)


@pytest.mark.parametrize("value", [object(), float("nan"), "\ud800"])
def test_a_value_that_json_cannot_hold_is_refused_and_nothing_is_left(write_bytes, tmp_path, monkeypatch, value):
    """Parquet holds such values."""
    source = write_bytes(b"", "pairs.parquet")
    turn = {"role": "user", "content": "Q?", "at": value}
    rows = [{"prompt": [turn], "chosen": "a", "rejected": "b"}]
    monkeypatch.setattr(sources, "_rows_of_parquet", lambda _: iter([("pairs.parquet: row 1", rows[0])]))
    found = f"{source}: expected rows of JSON values, found one that is none ("
    with pytest.raises(DataError, match=f"^{re.escape(found)}"):
        to_sft(source, tmp_path / "sft.jsonl")
    assert list(tmp_path.iterdir()) == [source]


def test_the_target_is_another_jsonl_file(write_rows, tmp_path):
    src = write_rows(row())
    found = "expected a file of its own, found one that is read or written as well"
    for dst, message in [
        (src, found),
        (tmp_path / "a.json", "expected a .jsonl file to write, found .json; rename it"),
    ]:
        with pytest.raises(DataError, match=re.escape(message)):
            to_sft(str(src), str(dst))
    assert json.loads(src.read_bytes()) == row()


# Words


def test_an_export_says_what_it_wrote():
    assert str(SftExport(Path("x/sft.jsonl"), 1_200, 0, {})) == "sft.jsonl: 1,200 rows"
    assert str(SftExport(Path("sft.jsonl"), 1, 2, {"tools": 1_000, "name": 1})) == (
        "sft.jsonl: 1 row; 2 pairs left out (weight 0, or no text to train on); lost: tools (1,000), name (1)"
    )
