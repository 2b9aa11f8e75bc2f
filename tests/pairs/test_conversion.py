import gzip
import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preftune.errors import DataError
from preftune.pairs import PreferencePair, check
from preftune.pairs.conversion import Conversion, convert, read, read_placed
from preftune.pairs.formats.table import LAYOUTS

USER = {"role": "user", "content": "Q\u2028?"}
SYSTEM = {"role": "system", "content": "s"}
CHOSEN, REJECTED = {"role": "assistant", "content": "é"}, {"role": "assistant", "content": "b"}
PAIR = PreferencePair([USER], CHOSEN, REJECTED)
TOGETHER = {"input": {"messages": [USER]}, "preferred_output": [CHOSEN], "non_preferred_output": [REJECTED]}
TRL = {"prompt": [USER], "chosen": [CHOSEN], "rejected": [REJECTED]}
SHAREGPT = {
    "conversations": [{"from": "human", "value": "Q\u2028?"}],
    "chosen": {"from": "gpt", "value": "é"},
    "rejected": {"from": "gpt", "value": "b"},
}
WRITTEN = {"together": TOGETHER, "trl": TRL, "sharegpt": SHAREGPT}
TOOLS = [{"type": "function", "function": {"name": "f"}}]
RICH = {
    "input": {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Q?"}], "name": "Ann"}],
        "tools": TOOLS, "parallel_tool_calls": True, "temperature": 1,
    },
    "preferred_output": [CHOSEN], "non_preferred_output": [REJECTED], "weight": 2, "id": 7, "margin": 1,
    "score_chosen": 3,
}  # fmt: skip
PKU = {
    "prompt": "Q\u2028?", "response_0": "é", "response_1": "b", "better_response_id": 0, "safer_response_id": 1,
}  # fmt: skip
LLMBAR = {"input": "Q\u2028?", "output_1": "b", "output_2": "é", "label": 2}


def written(*rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def refuses(message):
    return pytest.raises(DataError, match=f"^{re.escape(message)}$")


@pytest.fixture
def dst(tmp_path):
    return tmp_path / "out.jsonl"


# What is written


@pytest.mark.parametrize("source", WRITTEN)
@pytest.mark.parametrize("target", WRITTEN)
def test_convert_writes_any_layout_as_any_target(write_rows, dst, source, target):
    src = write_rows(WRITTEN[source])
    assert convert(src, str(dst), target=target) == Conversion(dst, source, 1, 1, {}, {})
    assert dst.read_bytes() == written(WRITTEN[target])


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_the_example_of_every_layout_converts_to_a_file_that_check_takes(write_rows, dst, layout):
    choices = {"label": layout.labels[0] if layout.labels else None, "ties": "drop" if layout.ties else None}
    done = convert(write_rows(*layout.example), dst, **choices)
    assert (done.source, done.rows, done.pairs, done.dropped) == (layout.name, len(layout.example), 1, {})
    assert check(dst).refusals() == []


TEXTS = st.text(max_size=5).filter(str.strip)
CONTEXTS = st.builds(
    lambda system, turns: [
        *([{"role": "system", "content": system}] if system else []),
        *({"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(turns)),
    ],
    st.none() | TEXTS,
    st.lists(TEXTS, min_size=3, max_size=3) | st.lists(TEXTS, min_size=1, max_size=1),
)
TEXT_ROWS = st.builds(
    lambda prompt, chosen, rejected: {
        "input": {"messages": prompt},
        "preferred_output": [{"role": "assistant", "content": chosen}],
        "non_preferred_output": [{"role": "assistant", "content": rejected}],
    },
    CONTEXTS,
    TEXTS,
    TEXTS,
)
files_anew = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@files_anew
@given(rows=st.lists(TEXT_ROWS, min_size=1, max_size=3), target=st.sampled_from(sorted(WRITTEN)))
def test_text_rows_are_the_same_to_the_byte_after_a_way_through_any_target(tmp_path, rows, target):
    src, there, back = (tmp_path / f"{name}.jsonl" for name in ("src", "there", "back"))
    src.write_bytes(written(*rows))
    assert convert(src, there, target=target).lost == {}
    assert convert(there, back) == Conversion(back, target, len(rows), len(rows), {}, {})
    assert back.read_bytes() == src.read_bytes()


def test_tools_survive_a_way_through_trl_and_through_sharegpt(write_rows, tmp_path):
    src = write_rows(TOGETHER | {"input": {"messages": [SYSTEM, USER, CHOSEN, USER], "tools": TOOLS}})
    for target in WRITTEN:
        convert(src, tmp_path / "there.jsonl", target=target)
        convert(tmp_path / "there.jsonl", tmp_path / "back.jsonl")
        assert (tmp_path / "back.jsonl").read_bytes() == src.read_bytes()


# What is lost and dropped


@pytest.mark.parametrize(
    ("target", "lost"),
    [
        ("together", {"id": 1, "input.temperature": 1, "scores": 1}),
        ("trl", {"id": 1, "input.temperature": 1, "parallel_tool_calls": 1, "scores": 1, "weight": 1}),
        ("sharegpt", {"id": 1, "input.temperature": 1, "name": 1, "parallel_tool_calls": 1, "scores": 1, "weight": 1}),
    ],
)
def test_convert_counts_and_names_what_the_target_has_no_place_for(write_rows, dst, target, lost):
    done = convert(write_rows(TOGETHER, RICH), dst, target=target)
    assert done == Conversion(dst, "together", 2, 2, lost, {})


def test_convert_counts_an_image_that_the_target_drops(write_rows, dst):
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    src = write_rows(TOGETHER | {"input": {"messages": [{"role": "user", "content": [part]}]}})
    assert convert(src, dst, target="sharegpt").lost == {"content that is not text": 1}


def test_convert_counts_lost_meta_in_pairs(write_rows, dst):
    rows = [TRL | {"id": 1, "task": 2}, TRL | {"id": 2}, TRL]
    assert convert(write_rows(*rows), dst).lost == {"id": 2, "task": 1}


def test_a_conversion_tells_what_it_did():
    assert str(Conversion(Path("x/out.jsonl"), "trl", 1_200, 1_200, {}, {})) == (
        "out.jsonl: 1,200 pairs from 1,200 rows read as trl"
    )
    reasons = {f"reason {number}": 7 - number for number in range(7)}
    assert str(Conversion(Path("out.jsonl"), "trl", 30, 1, {"weight": 1, "id": 2_000}, reasons)) == (
        "out.jsonl: 1 pair from 30 rows read as trl; lost: id (2,000), weight (1); dropped: reason 0 (7), "
        "reason 1 (6), reason 2 (5), reason 3 (4), reason 4 (3) and 2 more"
    )


def test_a_conversion_tells_all_that_was_lost():
    lost = {f"key {number}": 1 for number in range(9)}
    names = ", ".join(f"key {number} (1)" for number in range(9))
    assert str(Conversion(Path("out.jsonl"), "trl", 1, 1, lost, {})) == (
        f"out.jsonl: 1 pair from 1 row read as trl; lost: {names}"
    )


# Where it is written


def test_convert_refuses_to_write_over_its_own_source(write_rows):
    path = write_rows(SHAREGPT)
    with refuses(
        f"{path}: expected a file of its own, found one that is read or written as well; give it another name"
    ):
        convert(str(path), path)
    assert path.read_bytes() == written(SHAREGPT)


@pytest.mark.parametrize(("name", "found"), [("out.json", ".json"), ("out", "no extension"), ("a.jsonl.gz", ".gz")])
def test_convert_writes_jsonl_alone(write_rows, tmp_path, name, found):
    with refuses(f"{tmp_path / name}: expected a .jsonl file to write, found {found}; rename it"):
        convert(write_rows(TRL), tmp_path / name)


def test_convert_names_the_destination_that_it_cannot_write(write_rows, tmp_path):
    src = write_rows(TRL)
    absent, folder, inside = tmp_path / "absent" / "out.jsonl", tmp_path / "folder.jsonl", src / "out.jsonl"
    folder.mkdir()
    hint = "see that its folder is there and yours"
    with refuses(f"{absent}: cannot be written (No such file or directory); {hint}"):
        convert(src, absent)
    with refuses(f"{folder}: expected the name of a file to write, found a folder; name a file in it"):
        convert(src, folder)
    with refuses(f"{inside}: cannot be written (Not a directory); {hint}"):
        convert(src, inside)
    assert sorted(tmp_path.iterdir()) == [folder, src]


def test_convert_leaves_nothing_behind_after_an_error(write_rows, tmp_path):
    src = write_rows(TRL, TRL, TRL | {"prompt": 5})
    message = (
        "pairs.jsonl:3: prompt is a number; expected a list of messages; mend the row, "
        "or leave such rows out with unfit='drop'"
    )
    with refuses(message):
        convert(src, tmp_path / "out.jsonl")
    assert list(tmp_path.iterdir()) == [src]


def test_convert_leaves_an_older_file_as_it_was_after_an_error(write_rows, dst):
    dst.write_bytes(b"older")
    with pytest.raises(DataError):
        convert(write_rows({"chosen": "a", "rejected": "b"}), dst)
    assert dst.read_bytes() == b"older"


def test_convert_refuses_a_source_without_a_pair_and_says_why(write_rows, dst):
    src = write_rows(
        {"prompt": "p", "completion": "c", "label": True}, {"prompt": "q", "completion": "c", "label": True}
    )
    with refuses(
        "pairs.jsonl: expected pairs, found none in 2 rows (dropped: only one answer to its prompt (2)); "
        "look at why, and at the layout"
    ):
        convert(src, dst)
    with refuses("the rows: expected pairs, found none in 0 rows; look at why, and at the layout"):
        convert([], dst, source="trl")
    assert not dst.exists()


# Sources


def test_rows_may_be_values_of_python_read_once(dst):
    assert list(read([TRL, TRL])) == list(read(iter([TRL, TRL]))) == [PAIR, PAIR]
    assert convert((TRL for _ in range(300)), dst) == Conversion(dst, "trl", 300, 300, {}, {})


def test_a_zipped_list_is_read(write_bytes):
    path = write_bytes(gzip.compress(json.dumps([LLMBAR]).encode()), "rows.json.gz")
    assert list(read(path)) == [PAIR]


def test_a_row_that_the_hosted_side_would_refuse_is_unfit_for_it_and_fit_for_others(dst):
    called = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "[]"}}
    row = TRL | {"prompt": [USER, {"role": "assistant", "tool_calls": [called]}, USER], "tools": TOOLS}
    fault = "as a preference row: input.messages[{}].tool_calls[{}].function.arguments is no JSON object"
    with refuses(f"row 2: {fault.format(1, 0)}; mend the row, or leave such rows out with unfit='drop'"):
        convert([TRL, row], dst)
    dropped = {fault.format("*", "*"): 1}
    assert convert([TRL, row], dst, unfit="drop") == Conversion(dst, "trl", 2, 1, {}, dropped)
    assert convert([TRL, row], dst, target="trl").pairs == 2
    found = f"expected pairs, found none in 1 row (dropped: {next(iter(dropped))} (1))"
    with refuses(f"the rows: {found}; look at why, and at the layout"):
        convert([row], dst, unfit="drop")


def test_a_flipped_score_is_unfit(dst):
    scored = [TRL | {"score_chosen": better, "score_rejected": worse} for better, worse in [(2, 1), (1, 2)]]
    found = "row 2: score_chosen is 1, less than score_rejected, 2; expected the better first; "
    with pytest.raises(DataError, match=f"^{re.escape(found)}"):
        convert(scored, dst)
    assert convert(scored, dst, unfit="drop").pairs == 1


def test_a_value_that_json_cannot_hold_is_unfit(dst):
    messages = [[{"role": "user", "content": "Q?", "at": at}] for at in (object(), float("nan"), "\ud800")]
    rows = [TRL | {"prompt": prompt} for prompt in messages]
    with pytest.raises(DataError, match=r"^row 2: the row holds what JSON cannot \(.+\); mend the row, or leave such"):
        convert([TRL, *rows], dst)
    done = convert([TRL, *rows], dst, unfit="drop")
    assert (done.rows, done.pairs, sum(done.dropped.values())) == (4, 1, 3)


def test_read_raises_at_the_call_for_its_arguments_and_an_absent_file(tmp_path, write_rows):
    with pytest.raises(DataError, match="found nothing there"):
        read(tmp_path / "absent.jsonl")
    with pytest.raises(DataError, match=r"^source='hf': expected one of together, "):
        read(write_rows(TRL), source="hf")
    with pytest.raises(DataError, match=r"^ties='keep': expected 'drop'; choose one of them$"):
        read(write_rows(LLMBAR | {"preference": 1, "instruction": "Q?"}), ties="keep")


def test_read_placed_names_the_source_and_the_place_of_each_pair(write_rows):
    src = write_rows(TRL, TRL | {"chosen": 7}, TRL)
    name, reading = read_placed(src, unfit="drop")
    assert (name, list(reading)) == (src.name, [(f"{src.name}:1", PAIR), (f"{src.name}:3", PAIR)])
    assert (reading.rows, sum(reading.dropped.values())) == (3, 1)
    name, reading = read_placed([TOGETHER])
    assert (name, list(reading)) == ("the rows", [("row 1", PAIR)])


def test_read_placed_raises_for_an_unfit_row_unless_it_is_to_be_dropped(write_rows):
    src = write_rows(TRL, TRL | {"chosen": 7})
    with pytest.raises(DataError, match=rf"^{src.name}:2: chosen is a number"):
        list(read_placed(src)[1])


# Layouts


def test_convert_refuses_unknown_layouts_by_name(write_rows, dst):
    src = write_rows(TRL)
    with refuses("target='csv': expected one of together, trl, sharegpt; choose one of them"):
        convert(src, dst, target="csv")
    with pytest.raises(DataError, match=r"^target='llmbar': expected one of"):
        convert(src, dst, target="llmbar")
    names = ", ".join(layout.name for layout in LAYOUTS)
    field_map = 'or a field map such as {"prompt": "q", "chosen": "good", "rejected": "bad"}'
    with refuses(f"source='hf': expected one of {names}, {field_map}; choose one of them"):
        convert(src, dst, source="hf")
    with refuses(f"source='sharegtp': expected one of {names}, {field_map}; did you mean 'sharegpt'?"):
        convert(src, dst, source="sharegtp")
    assert not dst.exists()


def test_a_field_map_reads_any_names(write_rows, dst):
    row = {"q": "Q\u2028?", "good": "é", "bad": "b", "sys": "s", "fns": TOOLS, "w": 0.5, "id": 1}
    keys = {"prompt": "q", "chosen": "good", "rejected": "bad", "system": "sys", "tools": "fns", "weight": "w"}
    src = write_rows(row, {"q": "Q\u2028?", "good": "é", "bad": "b"})
    full = PreferencePair([SYSTEM, USER], CHOSEN, REJECTED, TOOLS, weight=0.5, meta={"id": 1})
    assert list(read(src, source=keys)) == [full, PAIR]
    assert convert(src, dst, source=keys) == Conversion(dst, "a field map", 2, 2, {"id": 1}, {})
    with refuses(
        "pairs.jsonl:1: the row has the keys q, good, bad, sys, fns, w, id; expected q, yes, no; mend the row, "
        "or leave such rows out with unfit='drop'"
    ):
        list(read(src, source={"prompt": "q", "chosen": "yes", "rejected": "no"}))


@pytest.mark.parametrize(
    "keys", [{}, {"chosen": "a"}, {"chosen": "a", "rejected": "b", "completion": "c"}, {"chosen": "a", "rejected": 1}]
)
def test_a_field_map_must_name_both_answers_and_nothing_unknown(write_rows, keys):
    with refuses(
        f"source={keys}: expected chosen, rejected and any of prompt, system, tools, weight, "
        "each with the key that holds it; name them so"
    ):
        read(write_rows(TRL), source=keys)


# Detection


@pytest.mark.parametrize(
    ("content", "name"), [(b"", "e.jsonl"), (b"\n\n", "e.jsonl"), (b"[]", "e.json"), (b"", "e.json")]
)
def test_detection_refuses_an_empty_file(write_bytes, dst, content, name):
    path = write_bytes(content, name)
    with refuses(f"{name}: expected preference rows, found none; write one JSON object a line"):
        convert(path, dst)
    assert not dst.exists()


def test_detection_says_what_is_wrong_where_no_row_can_be_read(write_bytes):
    with refuses("pairs.jsonl:1: the line holds a number, not an object; write one JSON object a line"):
        read(write_bytes(b"5\n6\n"))


@pytest.mark.parametrize(("row", "keys"), [({"a": 1, "b": 2}, "a, b"), ({}, "none")])
def test_detection_refuses_rows_of_no_known_layout_and_asks(write_rows, row, keys):
    start = (
        f"pairs.jsonl: expected rows of one known layout, found the keys {keys}; pass source=, one of together, nova,"
    )
    with pytest.raises(DataError, match=f"^{re.escape(start)}"):
        read(write_rows(row))


def test_detection_wants_95_of_100_rows_to_agree_and_tells_the_votes(write_rows):
    rows = [*[TRL] * 95, *[SHAREGPT] * 5]
    done = list(read(write_rows(*rows, {"chosen": 1, "rejected": 1}), source="trl", unfit="drop"))
    assert len(done) == 95
    with pytest.raises(DataError, match=r"^pairs\.jsonl:96: "):
        list(read(write_rows(*rows)))
    votes = "trl in 94, sharegpt in 5, no known one in 1 of the first 100"
    start = f"pairs.jsonl: expected rows of one known layout, found {votes}; pass source=, one of together, "
    with pytest.raises(DataError, match=f"^{re.escape(start)}"):
        read(write_rows(*[TRL] * 94, *[SHAREGPT] * 5, {"x": 1}))


def test_detection_looks_at_the_first_200_rows_alone(write_rows):
    with pytest.raises(DataError, match=r"^pairs\.jsonl:201: "):
        list(read(write_rows(*[TRL] * 200, *[LLMBAR] * 100)))


# Choices


@pytest.mark.parametrize(
    ("row", "choices", "message"),
    [
        (PKU, {}, "pairs.jsonl: expected one label, found several in rows of pku; pass label='better' or 'safer'"),
        (PKU, {"label": "best"}, "label='best': expected 'better' or 'safer'; choose one of them"),
        (
            TRL,
            {"label": "better"},
            "label='better': pairs.jsonl is read as trl, which leaves no such choice; leave it out",
        ),
        (
            TRL,
            {"pairing": "all"},
            "pairing='all': pairs.jsonl is read as trl, which leaves no such choice; leave it out",
        ),
        (TRL, {"ties": "drop"}, "ties='drop': pairs.jsonl is read as trl, which leaves no such choice; leave it out"),
        (TRL, {"unfit": "keep"}, "unfit='keep': expected 'drop'; choose one of them"),
    ],
)
def test_a_choice_that_is_missing_unknown_or_unneeded_is_refused(write_rows, dst, row, choices, message):
    with refuses(message):
        convert(write_rows(row), dst, **choices)


def test_choices_reach_the_reader(write_rows, dst):
    assert [pair.chosen_text for pair in read(write_rows(PKU), label="safer")] == ["b"]
    tie = {"prompt": "Q?", "response 1": "a", "response 2": "b", "label": 2}
    done = convert(write_rows(tie, tie | {"label": 1}), dst, ties="drop")
    assert done == Conversion(dst, "auto-j", 2, 1, {}, {"tie": 1})
    several = {"instruction": "Q?", "generations": ["a", "b", "c"], "ratings": [1, 2, 3]}
    assert [pair.chosen_text for pair in read(write_rows(several), pairing="best-worst")] == ["c"]


# Rows that the hosted side would not take


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"preferred_output": [USER]}, "preferred_output[0].role is 'user'; it must be 'assistant'"),
        (
            {"preferred_output": [CHOSEN, CHOSEN]},
            "preferred_output is a list of 2; it must be a list of exactly one message",
        ),
    ],
)
def test_a_together_row_is_held_to_the_hosted_rules(write_rows, dst, changes, reason):
    src = write_rows(TOGETHER, TOGETHER | changes)
    with refuses(f"pairs.jsonl:2: {reason}; mend the row, or leave such rows out with unfit='drop'"):
        convert(src, dst)
    done = convert(src, dst, unfit="drop")
    assert (done.rows, done.pairs, list(done.dropped.values())) == (2, 1, [1])


def test_unfit_lines_are_dropped_and_counted_too(write_bytes, dst):
    src = write_bytes(written(TOGETHER) + b"[]\n")
    done = convert(src, dst, unfit="drop")
    assert done.dropped == {"the line holds a list, not an object": 1}


# Whatever the rows hold

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["", "user", "assistant", "human", "gpt", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "from", "value", "tool_calls"]), inner, max_size=3)
    ),
    max_leaves=6,
)
ROWS = st.sampled_from(LAYOUTS).flatmap(
    lambda layout: st.tuples(
        st.just(layout),
        st.fixed_dictionaries(
            {key: st.just(value) | JSON for key, value in layout.example[0].items()},
            optional={key: JSON for key in ("system", "tools", "weight") if key not in layout.example[0]},
        ),
    )
)


@files_anew
@given(case=ROWS, target=st.sampled_from(sorted(WRITTEN)), unfit=st.sampled_from([None, "drop"]))
def test_convert_writes_a_row_or_raises_data_error_whatever_it_holds(tmp_path, case, target, unfit):
    layout, row = case
    src, dst = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    src.write_bytes(written(row, *layout.example))
    dst.unlink(missing_ok=True)
    choices = {"label": layout.labels[0] if layout.labels else None, "unfit": unfit}
    refusal = ""
    try:
        assert convert(src, dst, source=layout.name, target=target, **choices).pairs >= 1
    except DataError as error:
        refusal = str(error)
    assert dst.exists() is not refusal.startswith(("rows.jsonl:1: ", "rows.jsonl: expected pairs"))


# Real sets (reference figures: docs of the audit, table of real sets)


def _count(path, rule, severity):
    findings = check(path).findings
    return sum(found.count for found in findings if (found.rule, found.severity) == (rule, severity))


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "choices", "source", "rows", "pairs", "lost", "dropped"),
    [
        ("llamafactory/dpo_en.json", {}, "sharegpt", 300, 300, {}, {}),
        ("llamafactory/dpo_zh.json", {}, "sharegpt", 300, 300, {}, {}),
        ("llamafactory/kto_en.json", {}, "llamafactory-kto", 300, 1, {},
         {"only one answer to its prompt": 294, "answers of one class alone": 4}),
        ("llamafactory/v1_dpo.jsonl", {}, "llamafactory-v1", 10, 10, {"loss_weight": 10}, {}),
        ("medicalgpt/dpo_zh.jsonl", {}, "sharegpt", 500, 500, {}, {}),
        ("medicalgpt/toolcall_zh.jsonl", {}, "sharegpt", 11, 11, {}, {}),
        ("align-anything/pku_rows.json", {"label": "better"}, "pku", 32, 32,
         {"is_safe_chosen": 32, "is_safe_rejected": 32, "safer_response_id": 32}, {}),
        ("align-anything/pku_rows.json", {"label": "safer"}, "pku", 32, 32,
         {"is_safe_chosen": 32, "is_safe_rejected": 32, "better_response_id": 32}, {}),
        ("nemo-aligner/dummy_dpo.jsonl", {}, "nemo-aligner", 100, 100, {}, {}),
        ("nemo-aligner/rm.jsonl", {"label": "helpfulness", "ties": "drop"}, "steerlm", 8, 3, {"scores": 3}, {"tie": 1}),
    ],
)  # fmt: skip
def test_real_sets_are_known_and_convert_to_files_that_the_hosted_side_takes(
    real_data, dst, name, choices, source, rows, pairs, lost, dropped
):
    assert convert(real_data / name, dst, **choices) == Conversion(dst, source, rows, pairs, lost, dropped)
    report = check(dst)
    assert (report.pairs, report.refusals()) == (pairs, [])


@pytest.mark.real
def test_real_sets_ask_for_the_choices_that_they_leave(real_data, dst):
    with refuses("pku_rows.json: expected one label, found several in rows of pku; pass label='better' or 'safer'"):
        convert(real_data / "align-anything" / "pku_rows.json", dst)
    with pytest.raises(DataError, match=r"^rm\.jsonl:7: expected a better answer, found a tie \(two answers are rated"):
        convert(real_data / "nemo-aligner" / "rm.jsonl", dst, label="helpfulness")


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "duplicates"),
    [("llamafactory/dpo_en.json", 5), ("llamafactory/dpo_zh.json", 11), ("medicalgpt/dpo_zh.jsonl", 0)],
)
def test_real_sharegpt_sets_convert_to_files_without_an_error(real_data, dst, name, duplicates):
    convert(real_data / name, dst)
    assert (check(dst).ok, _count(dst, "duplicate", "warning"), _count(dst, "identical", "error")) == (
        True,
        duplicates,
        0,
    )


@pytest.mark.real
@pytest.mark.parametrize("target", WRITTEN)
def test_real_text_sets_are_the_same_to_the_byte_after_a_way_through_any_target(real_data, tmp_path, target):
    src, there, back = (tmp_path / f"{name}.jsonl" for name in ("src", "there", "back"))
    convert(real_data / "llamafactory" / "dpo_en.json", src)
    convert(src, there, target=target)
    convert(there, back)
    assert back.read_bytes() == src.read_bytes()


@pytest.mark.real
def test_the_five_llmbar_files_convert_to_419_pairs_without_a_duplicate(real_data, tmp_path):
    files = sorted((real_data / "llmbar").glob("*.json"))
    done = [convert(file, tmp_path / f"{file.stem}.jsonl") for file in files]
    whole = tmp_path / "llmbar.jsonl"
    whole.write_bytes(b"".join(each.path.read_bytes() for each in done))
    report = check(whole)
    assert (len(files), {each.source for each in done}, report.pairs) == (5, {"llmbar"}, 419)
    assert (_count(whole, "duplicate", "warning"), _count(whole, "identical", "error"), report.ok) == (0, 0, True)
    assert _count(whole, "identical", "warning") == 1
