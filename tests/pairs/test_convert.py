import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preftune.errors import DataError
from preftune.pairs import Conversion, PreferencePair, check, convert, read

USER = {"role": "user", "content": "Q\u2028?"}
CHOSEN, REJECTED = {"role": "assistant", "content": "é"}, {"role": "assistant", "content": "b"}
PAIR = PreferencePair([USER], CHOSEN, REJECTED)
TOGETHER = {"input": {"messages": [USER]}, "preferred_output": [CHOSEN], "non_preferred_output": [REJECTED]}
TRL = {"prompt": [USER], "chosen": [CHOSEN], "rejected": [REJECTED]}
SHAREGPT = {
    "conversations": [{"from": "human", "value": "Q\u2028?"}],
    "chosen": {"from": "gpt", "value": "é"},
    "rejected": {"from": "gpt", "value": "b"},
}
LLMBAR = {"input": "Q\u2028?", "output_1": "b", "output_2": "é", "label": 2}
LAYOUTS = {"together": TOGETHER, "trl": TRL, "sharegpt": SHAREGPT, "llmbar": LLMBAR}
TOOLS = [{"type": "function", "function": {"name": "f"}}]
RICH = {
    "input": {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Q?"}], "name": "Ann"}],
        "tools": TOOLS, "parallel_tool_calls": True, "temperature": 1,
    },
    "preferred_output": [CHOSEN], "non_preferred_output": [REJECTED], "weight": 2, "id": 7,
}  # fmt: skip


def written(*rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


@pytest.fixture
def dst(tmp_path):
    return tmp_path / "out.jsonl"


@pytest.mark.parametrize("source", LAYOUTS)
@pytest.mark.parametrize("target", ["together", "trl", "sharegpt"])
def test_convert_writes_any_layout_as_any_target(write_rows, dst, source, target):
    src = write_rows(LAYOUTS[source])
    assert convert(src, str(dst), target=target) == Conversion(dst, source, 1, {})
    assert dst.read_bytes() == written(LAYOUTS[target])


def test_convert_writes_together_by_default_and_check_takes_it(write_rows, dst):
    convert(write_rows(SHAREGPT), dst)
    assert check(dst).findings == []


def test_a_together_file_is_the_same_to_the_byte_after_a_way_through_trl(write_rows, tmp_path):
    src = write_rows(TOGETHER, TOGETHER | {"input": {"messages": [USER, CHOSEN, USER], "tools": TOOLS}})
    convert(src, tmp_path / "trl.jsonl", target="trl")
    convert(tmp_path / "trl.jsonl", tmp_path / "back.jsonl")
    assert (tmp_path / "back.jsonl").read_bytes() == src.read_bytes()


@pytest.mark.parametrize(
    ("target", "lost"),
    [
        ("together", {"id": 1, "input.temperature": 1}),
        ("trl", {"parallel_tool_calls": 1, "weight": 1, "id": 1, "input.temperature": 1}),
        (
            "sharegpt",
            {
                "tools": 1, "parallel_tool_calls": 1, "weight": 1, "message fields": 1, "content other than text": 1,
                "id": 1, "input.temperature": 1,
            },
        ),
    ],
)  # fmt: skip
def test_convert_counts_and_names_what_the_target_has_no_place_for(write_rows, dst, target, lost):
    assert convert(write_rows(TOGETHER, RICH), dst, target=target) == Conversion(dst, "together", 2, lost)


def test_convert_counts_an_image_that_the_target_drops(write_rows, dst):
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    src = write_rows(TOGETHER | {"input": {"messages": [{"role": "user", "content": [part]}]}})
    assert convert(src, dst, target="sharegpt").lost == {"content other than text": 1}


def test_convert_counts_lost_meta_in_pairs(write_rows, dst):
    rows = [TRL | {"id": 1, "score": 2}, TRL | {"id": 2}, TRL]
    assert convert(write_rows(*rows), dst).lost == {"id": 2, "score": 1}


def test_a_conversion_tells_what_it_did():
    assert str(Conversion(Path("x/out.jsonl"), "trl", 1_200, {})) == "out.jsonl: 1,200 pairs read as trl"
    assert str(Conversion(Path("out.jsonl"), "trl", 1, {"weight": 1, "id": 2})) == (
        "out.jsonl: 1 pair read as trl; lost: weight (1), id (2)"
    )


def test_convert_can_write_over_its_own_source(write_rows):
    path = write_rows(SHAREGPT)
    convert(path, path)
    assert path.read_bytes() == written(TOGETHER)


def test_convert_leaves_nothing_behind_after_an_error(write_rows, tmp_path):
    src = write_rows(TRL, TRL, TRL | {"prompt": 5})
    with pytest.raises(
        DataError, match=r"^pairs\.jsonl:3: prompt is neither text nor a list of messages; mend or drop"
    ):
        convert(src, tmp_path / "out.jsonl")
    assert list(tmp_path.iterdir()) == [src]


def test_convert_leaves_an_older_file_as_it_was_after_an_error(write_rows, dst):
    dst.write_bytes(b"older")
    with pytest.raises(DataError):
        convert(write_rows({"chosen": "a", "rejected": "b"}), dst)
    assert dst.read_bytes() == b"older"


def test_convert_refuses_unknown_layouts_by_name(write_rows, dst):
    src = write_rows(TRL)
    with pytest.raises(DataError, match=r"^target='csv': expected one of together, trl, sharegpt; choose one of them$"):
        convert(src, dst, target="csv")
    with pytest.raises(DataError, match=r"^target='llmbar': expected one of"):
        convert(src, dst, target="llmbar")
    with pytest.raises(DataError, match=r"^source='hf': expected one of together, sharegpt, llmbar, trl; choose one"):
        convert(src, dst, source="hf")
    assert not dst.exists()


@pytest.mark.parametrize("source", [*LAYOUTS, "auto"])
def test_read_yields_the_pairs_of_json_lists_too(write_bytes, source):
    rows = LAYOUTS.get(source, LLMBAR)
    path = write_bytes(b"\xef\xbb\xbf" + json.dumps([rows, rows], indent=1).encode(), "rows.JSON")
    assert list(read(path, source=source)) == [PAIR, PAIR]


def test_read_skips_a_mark_blank_lines_and_carriage_returns(write_bytes):
    line = json.dumps(TRL).encode()
    assert list(read(write_bytes(b"\xef\xbb\xbf\r\n" + line + b"\r\n\r\n" + line))) == [PAIR, PAIR]


@pytest.mark.parametrize(
    ("source", "bad", "reason"),
    [
        (
            "together",
            {"prompt": "p", "chosen": "a", "rejected": "b"},
            "the row is in the TRL format; it must be a preference row",
        ),
        (
            "together",
            TOGETHER | {"preferred_output": [USER]},
            "preferred_output[0].role is 'user'; it must be 'assistant'",
        ),
        ("trl", {"prompt": "p", "chosen": "a"}, "the row has the keys prompt, chosen; expected chosen, rejected"),
        ("trl", {}, "the row has the keys none; expected chosen, rejected"),
        ("sharegpt", TRL, "the row has the keys prompt, chosen, rejected; expected chosen, conversations, rejected"),
        ("sharegpt", SHAREGPT | {"conversations": []}, "conversations is not a list of turns"),
        ("llmbar", LLMBAR | {"label": 3}, "label is 3; expected 1 or 2"),
    ],
)
def test_read_names_the_row_that_holds_no_pair(write_rows, source, bad, reason):
    path = write_rows(LAYOUTS[source], bad)
    with pytest.raises(DataError, match=f"^{re.escape(f'pairs.jsonl:2: {reason}; mend or drop the row')}$"):
        list(read(path, source=source))


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (
            written(TRL) + b"[]\n",
            "r.jsonl",
            "r.jsonl:2: the line holds a list, not an object; write one JSON object a line",
        ),
        (b"\xff", "r.jsonl", "r.jsonl:1: byte 0xff at byte 0 of the line is not UTF-8; save the file as UTF-8"),
        (b"{}", "r.json", "r.json: expected a list of rows, found an object; wrap the rows in a list"),
        (
            json.dumps([TRL, 5]).encode(),
            "r.json",
            "r.json: row 2: expected an object, found a number; mend or drop the row",
        ),
        (b"[{},", "r.json", "r.json: not JSON at column 5: expecting value; write it with a JSON library"),
        (
            b"{}\n{}",
            "r.json",
            "r.json: a second value begins at line 2, column 1; put each object on a line of its own, in a .jsonl file",
        ),
        (b'["\xff"]', "r.json", "r.json: byte 0xff at byte 2 of the file is not UTF-8; save the file as UTF-8"),
        (b'[{"a": NaN}]', "r.json", "r.json: NaN is no JSON; write null, or leave the key out"),
        (
            b'[{"a": 1, "a": 2}]',
            "r.json",
            "r.json: key 'a' stands twice in one object; keep one of them; readers disagree on which wins",
        ),
        (
            b'[{"a": "\\ud800"}]',
            "r.json",
            "r.json: an escape of a lone surrogate (half a character); write the whole character",
        ),
        (b"[" * 100_000, "r.json", "r.json: values are nested more than 64 deep; flatten the row"),
    ],
)
def test_read_names_the_place_that_is_not_json(write_bytes, content, name, message):
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        list(read(write_bytes(content, name), source="trl"))


@pytest.mark.parametrize(("name", "found"), [("rows.csv", "'.csv'"), ("rows", "'no extension'")])
@pytest.mark.parametrize("source", ["auto", "trl"])
def test_read_refuses_another_extension(write_rows, name, found, source):
    path = write_rows(TRL, name=name)
    message = f"{path}: expected a .jsonl or .json file, found {found}; rename or convert it"
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        list(read(path, source=source))


@pytest.mark.parametrize(
    ("content", "name"), [(b"", "e.jsonl"), (b"\n\n", "e.jsonl"), (b"[]", "e.json"), (b"", "e.json")]
)
def test_detection_refuses_an_empty_file(write_bytes, dst, content, name):
    path = write_bytes(content, name)
    message = f"{path}: expected preference rows, found an empty file; write one JSON object a line"
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        convert(path, dst)
    assert not dst.exists()


@pytest.mark.parametrize(("row", "keys"), [({"a": 1, "b": 2}, "a, b"), ({}, "none")])
def test_detection_refuses_rows_of_no_known_layout_and_asks(write_rows, row, keys):
    path = write_rows(row)
    message = (
        f"{path}: expected rows of one known layout, found the keys {keys} in the first; "
        "say which it is: source= one of together, sharegpt, llmbar, trl"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        list(read(path))


def test_detection_wants_95_of_100_rows_to_agree(write_rows):
    with pytest.raises(DataError, match=r"^pairs\.jsonl:96: the row has the keys"):
        list(read(write_rows(*[TRL] * 95, *[SHAREGPT] * 5)))
    with pytest.raises(DataError, match="expected rows of one known layout"):
        list(read(write_rows(*[TRL] * 94, *[SHAREGPT] * 6)))


def test_detection_looks_at_the_first_200_rows_alone(write_rows):
    with pytest.raises(DataError, match=r"^pairs\.jsonl:201: "):
        list(read(write_rows(*[TRL] * 200, *[SHAREGPT] * 100)))


def test_read_raises_where_there_is_no_file(tmp_path):
    with pytest.raises(DataError, match="found nothing there"):
        list(read(tmp_path / "absent.jsonl"))


# Whatever the rows hold

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["", "user", "assistant", "human", "gpt", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "from", "value"]), inner, max_size=3)
    ),
    max_leaves=6,
)
ROWS = st.sampled_from(sorted(LAYOUTS)).flatmap(
    lambda name: st.tuples(
        st.just(name),
        st.fixed_dictionaries(
            {key: st.just(value) | JSON for key, value in LAYOUTS[name].items()},
            optional={"system": JSON, "tools": JSON, "weight": JSON},
        ),
    )
)


@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # each example writes the files anew
@given(case=ROWS, target=st.sampled_from(["together", "trl", "sharegpt"]))
def test_convert_writes_a_row_or_raises_data_error_whatever_it_holds(tmp_path: Path, case, target):
    source, row = case
    src, dst = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    src.write_text(json.dumps(row), encoding="utf-8")
    dst.unlink(missing_ok=True)
    refusal = ""
    try:
        assert convert(src, dst, source=source, target=target).pairs == 1
    except DataError as error:
        refusal = str(error)
    assert dst.exists() is not refusal.startswith("rows.jsonl:1: ")


# Real sets (reference figures: docs of the audit, table of real sets)


def _duplicates(path):
    return sum(finding.count for finding in check(path).findings if finding.rule == "duplicate")


def _identical(path):
    return sum(
        finding.count for finding in check(path).findings if (finding.rule, finding.severity) == ("identical", "error")
    )


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "source", "pairs", "duplicates"),
    [
        ("llamafactory/dpo_en.json", "sharegpt", 300, 5),
        ("llamafactory/dpo_zh.json", "sharegpt", 300, 11),
        ("medicalgpt/dpo_zh.jsonl", "sharegpt", 500, 0),
    ],
)
def test_real_sharegpt_sets_convert_to_files_without_an_error(real_data, dst, name, source, pairs, duplicates):
    assert convert(real_data / name, dst) == Conversion(dst, source, pairs, {})
    report = check(dst)
    assert (report.ok, report.pairs, _duplicates(dst), _identical(dst)) == (True, pairs, duplicates, 0)


@pytest.mark.real
def test_the_five_llmbar_files_convert_to_419_pairs_without_a_duplicate(real_data, tmp_path):
    files = sorted((real_data / "llmbar").glob("*.json"))
    done = [convert(file, tmp_path / f"{file.stem}.jsonl") for file in files]
    whole = tmp_path / "llmbar.jsonl"
    whole.write_bytes(b"".join(each.path.read_bytes() for each in done))
    report = check(whole)
    assert (len(files), {each.source for each in done}, report.pairs) == (5, {"llmbar"}, 419)
    assert (_duplicates(whole), _identical(whole), report.ok) == (0, 0, True)
    assert [(found.rule, found.severity, found.count) for found in report.findings] == [("identical", "warning", 1)]
