import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from preftune.errors import DataError
from preftune.pairs import Finding, check, fix, jsonl, repair
from preftune.pairs.repair import Fixed

BOM = b"\xef\xbb\xbf"
USER = {"role": "user", "content": "Q?"}
TOOLS = [{"type": "function", "function": {"name": "f"}}]


def row(prompt="Q?", chosen="é", rejected="b", **more):
    return {
        "input": {"messages": [{"role": "user", "content": prompt}]},
        "preferred_output": [{"role": "assistant", "content": chosen}],
        "non_preferred_output": [{"role": "assistant", "content": rejected}],
        **more,
    }


def line(*given, **more):
    """Return the bytes of a pair, without line break."""
    return json.dumps(row(*given, **more), ensure_ascii=False).encode()


def told(rule, message, *lines, count=None):
    """Return what `fix` says of one kind of change."""
    return Finding(
        rule=rule, severity="info", count=count or len(lines), lines=lines, path="", message=message, hint=message,
        fixable=True, refused=False,
    )  # fmt: skip


@pytest.fixture
def mend(tmp_path):
    """Return a function that writes bytes, fixes them, and returns what was done and what was written."""

    def mend(content: bytes, **options):
        source, target = tmp_path / "pairs.jsonl", tmp_path / "fixed.jsonl"
        source.write_bytes(content)
        done = fix(source, target, **options)
        assert source.read_bytes() == content
        return done, target.read_bytes()

    return mend


# What is mended, each change with its lines


def test_a_byte_order_mark_is_removed(mend, tmp_path):
    done, written = mend(BOM + line() + b"\n")
    change = told("encoding", "the byte-order mark was removed", 1)
    assert done == Fixed(tmp_path / "fixed.jsonl", 1, 0, [change])
    assert written == line() + b"\n"


def test_a_mark_behind_blank_lines_is_removed_for_it_would_begin_the_new_file(mend):
    done, written = mend(BOM + b"\n" + BOM + BOM + line() + b"\n")
    mark = told("encoding", "the byte-order mark was removed", 1, 2, count=3)
    assert done.changes == [mark, told("blank", "a blank line was left out", 1)]
    assert written == line() + b"\n"


def test_carriage_returns_and_blank_lines_are_removed(mend, tmp_path):
    done, written = mend(
        b"\n".join([line("1"), b"", line("2") + b"\r", b" \t", line("3") + b"\r\r", b"\r", line("4") + b"\r"])
    )
    blank = told("blank", "a blank line was left out", 2, 4, 6)
    crlf = told("blank", "CRLF became LF", 3, 5, 7)
    assert done == Fixed(tmp_path / "fixed.jsonl", 4, 3, [blank, crlf])
    assert written == b"".join(line(str(number)) + b"\n" for number in (1, 2, 3, 4))


def test_a_bare_list_of_messages_becomes_an_input(mend):
    done, written = mend(line() + b"\n" + line(input=[USER, {"role": "assistant", "content": "a"}, USER]))
    assert done.changes == [told("input", "input, a bare list, became an object with messages", 2)]
    turns = [USER, {"role": "assistant", "content": "a"}, USER]
    assert json.loads(written.splitlines()[1]) == row(input={"messages": turns})


def test_tools_beside_input_are_moved_into_it(mend):
    bare = line(input=[USER], tools=TOOLS)
    done, written = mend(line(tools=TOOLS) + b"\n" + line("2", tools=TOOLS) + b"\n" + bare.replace(b"Q?", b"3"))
    assert done.changes == [
        told("tools", "tools was moved into input", 1, 2, 3),
        told("input", "input, a bare list, became an object with messages", 3),
    ]
    assert [json.loads(each)["input"] for each in written.splitlines()] == [
        {"messages": [{"role": "user", "content": prompt}], "tools": TOOLS} for prompt in ("Q?", "2", "3")
    ]


def test_unknown_keys_of_a_row_are_removed_and_weight_stays(mend):
    rows = [row(id=1, weight=0.5), row("2", source="s", id=None) | {"prompt": "p"}, row("3", completion="c")]
    done, written = mend(b"\n".join(json.dumps(each).encode() for each in rows))
    assert done.changes == [
        told("keys", "the unknown key 'id' was removed", 1, 2),
        told("keys", "the unknown key 'source' was removed", 2),
        told("keys", "the unknown key 'prompt' was removed", 2),
        told("keys", "the unknown key 'completion' was removed", 3),
    ]
    assert [json.loads(each) for each in written.splitlines()] == [row(weight=0.5), row("2"), row("3")]


def test_pairs_of_equal_answers_are_left_out(mend):
    equal = row("2", "a") | {"non_preferred_output": [{"content": "a", "role": "assistant"}]}
    done, written = mend(b"\n".join([line(), json.dumps(equal).encode(), line("3", "a", "A")]))
    assert (done.lines, done.dropped) == (2, 1)
    assert done.changes == [told("identical", "a pair whose answers are the same was left out", 2)]
    assert written == line() + b"\n" + line("3", "a", "A") + b"\n"


def test_repeated_pairs_are_left_out_and_other_pairs_of_a_prompt_are_not(mend):
    again = json.dumps(row(), indent=None, separators=(",", ":")).encode()
    others = [line("Q?", "é", "c"), line("Q?", "b", "é"), line("Q? ", "é", "b")]
    done, written = mend(b"\n".join([line(), again, *others, line(id=3)]))
    assert (done.lines, done.dropped) == (4, 2)
    assert done.changes == [
        told("duplicate", "a pair that stands in the file already was left out", 2, 6),
        told("keys", "the unknown key 'id' was removed", 6),
    ]
    assert written == b"".join(each + b"\n" for each in [line(), *others])


def test_rows_that_differ_in_weight_or_tools_are_kept(mend):
    tooled = row() | {"input": {"messages": [USER], "tools": TOOLS}}
    lines = [line(), line(weight=1), line(weight=2), line(weight=0), json.dumps(tooled, ensure_ascii=False).encode()]
    done, written = mend(b"\n".join([*lines, line(weight=2)]))
    assert (done.lines, done.dropped) == (5, 1)
    assert done.changes == [told("duplicate", "a pair that stands in the file already was left out", 6)]
    assert written == b"".join(each + b"\n" for each in lines)


# What is left alone


@pytest.mark.parametrize(
    "faulty",
    [
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"a": NaN}',
        b'{"input": 1, "input": 2}',
        b'{"a": "\\ud800"}',
        b"  {} ",
        b'{"prompt": "p", "chosen": "a", "rejected": "b"}',
        b'{"messages": [{"role": "user", "content": "x"}]}',
        line(preferred_output=[], x=1).replace(b', "x": 1', b""),
        line(messages=[USER], id=1),
        json.dumps(row(completion="c", id=1) | {"prompt": "p"}).encode(),
        line(text="t"),
        line(tools=TOOLS, input={"messages": [USER], "tools": TOOLS}),
        line(input=3, tools=[]),
        line(weight=-1),
        b'{"input": {"messages": []}, "preferred_output": [], "rejected_output": []}',
    ],
)
def test_what_takes_a_guess_stays_byte_for_byte(mend, tmp_path, faulty):
    content = b"\n".join([line(), faulty, faulty]) + b"\n"
    assert mend(content) == (Fixed(tmp_path / "fixed.jsonl", 3, 0, []), content)


def test_a_good_line_keeps_its_spelling(mend):
    odd = b'{ "weight" : 1.50, ' + line().removeprefix(b"{").replace("é".encode(), b"\\u00e9\\/") + b"  "
    assert mend(odd + b"\n")[1] == odd + b"\n"


def test_a_mended_line_keeps_values_and_the_order_of_keys(mend):
    given = {"note": "x", **row(weight=10**30), "input": {"messages": [USER], "y": [1.5, None, True, "\u2028"]}}
    written = mend(json.dumps(given).encode())[1].decode()
    del given["note"]
    assert (json.loads(written), list(json.loads(written))) == (given, list(given))


def test_a_line_that_is_mended_in_part_stays_faulty_where_it_takes_a_guess(mend):
    done, written = mend(line(input=[USER], preferred_output=[]))
    assert done.changes == [told("input", "input, a bare list, became an object with messages", 1)]
    assert json.loads(written) == row(input={"messages": [USER]}, preferred_output=[])


def test_a_file_without_a_line_is_copied(mend, tmp_path):
    assert mend(b"") == (Fixed(tmp_path / "fixed.jsonl", 0, 0, []), b"")


# Laws

KEYS = ["input", "preferred_output", "non_preferred_output", "weight", "tools", "id", "messages", "prompt", "text"]
VALUES = st.sampled_from(
    [[USER], {"messages": [USER]}, [{"role": "assistant", "content": "a"}], [{"role": "assistant", "content": "b"}],
     [], None, 1, "x", TOOLS, {"messages": [USER], "tools": TOOLS}]
)  # fmt: skip
PIECES = st.sampled_from(
    [
        line(),
        line(id=1),
        line("2", "a", "a"),
        line(input=[USER]),
        line(tools=TOOLS),
        b"",
        b" ",
        b"\r",
        BOM,
        b"{",
        b"\xff",
    ]
)
ANY_LINE = PIECES | st.dictionaries(st.sampled_from(KEYS), VALUES).map(lambda value: json.dumps(value).encode())
files_anew = settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
MENDED = ("encoding", "blank", "input", "tools", "keys", "identical", "duplicate")


@files_anew
@given(lines=st.lists(st.tuples(ANY_LINE, st.sampled_from([b"\n", b"\r\n", b"\r", b""])), max_size=8))
@example(lines=[(line("2", "a", "a"), b"\n"), (b"{", b"\n")])
def test_a_second_fix_changes_nothing_and_nothing_fixable_is_left_of_good_rows(tmp_path, lines):
    source, once, twice = tmp_path / "pairs.jsonl", tmp_path / "once.jsonl", tmp_path / "twice.jsonl"
    source.write_bytes(b"".join(raw + end for raw, end in lines))
    try:
        first = fix(source, once)
    except DataError as error:
        assert "it must" in str(error)  # noqa: PT017 - a file of another kind, which a random beginning may look like
        return
    try:
        second = fix(once, twice)
    except DataError as error:
        assert "it must" in str(error)  # noqa: PT017 - so may what is left when the first rows were dropped
        return
    assert (second.lines, second.dropped, second.changes) == (first.lines, 0, [])
    assert once.read_bytes() == twice.read_bytes()
    report = check(once)
    if report.ok:
        assert [finding for finding in report.findings if finding.fixable] == []


def test_the_fixed_file_passes_the_rules_that_it_mends(mend, tmp_path):
    lines = [BOM + line(), b"", line() + b"\r", line(id=1), line("2", "a", "a"), line(input=[USER]), line(tools=TOOLS)]
    mend(b"\n".join(lines))
    before, after = check(tmp_path / "pairs.jsonl"), check(tmp_path / "fixed.jsonl")
    fixable = {finding.rule for finding in before.findings if finding.fixable}
    assert fixable == set(MENDED)
    assert not fixable & {finding.rule for finding in after.findings}
    assert (before.ok, after.ok, after.pairs) == (False, True, 2)


# The log, and the words


def test_the_log_has_one_line_a_change(mend, tmp_path):
    log = tmp_path / "changes.log"
    mend(BOM + line(id=1, x=2) + b"\r\n\n" + line("3", "a", "a") + b"\n{\n", log=str(log))
    assert [json.loads(each) for each in log.read_bytes().splitlines()] == [
        {"line": 1, "rule": "encoding", "what": "the byte-order mark was removed"},
        {"line": 1, "rule": "blank", "what": "CRLF became LF"},
        {"line": 1, "rule": "keys", "what": "the unknown key 'id' was removed"},
        {"line": 1, "rule": "keys", "what": "the unknown key 'x' was removed"},
        {"line": 2, "rule": "blank", "what": "a blank line was left out"},
        {"line": 3, "rule": "identical", "what": "a pair whose answers are the same was left out"},
    ]


def test_the_log_of_a_clean_file_is_empty(mend, tmp_path):
    mend(line() + b"\n", log=tmp_path / "changes.jsonl")
    assert (tmp_path / "changes.jsonl").read_bytes() == b""


def test_a_fix_says_what_it_wrote_and_changed():
    changes = [told("blank", "a blank line was left out", 2, count=1_200), told("keys", "the key was removed", 1)]
    assert str(Fixed(Path("x/new.jsonl"), 3_000, 1_200, changes)) == (
        "new.jsonl: 3,000 lines written, 1,200 left out\n"
        "    1,200  a blank line was left out (blank)\n"
        "        1  the key was removed (keys)"
    )
    assert str(Fixed(Path("new.jsonl"), 1, 0, [])) == "new.jsonl: 1 line written, 0 left out\n  nothing to mend"


# What is refused, and leaves nothing


def test_a_fix_is_never_in_place_and_log_and_target_are_two_files(tmp_path):
    source, target = tmp_path / "pairs.jsonl", tmp_path / "fixed.jsonl"
    source.write_bytes(line() + b"\n\n")
    link = tmp_path / "link.jsonl"
    os.link(source, link)
    for new, log in [(source, None), (link, None), (target, source), (target, link), (target, target)]:
        with pytest.raises(DataError, match=r"expected a file of its own, found one that is read or written as well"):
            fix(source, new, log=log)
        assert sorted(tmp_path.iterdir()) == [link, source]
    assert source.read_bytes() == line() + b"\n\n"


@pytest.mark.parametrize("size", [len(line()), len(line()) - 1])
def test_a_line_beyond_the_limit_is_refused_and_never_cut(tmp_path, monkeypatch, size):
    for module in (jsonl, repair):
        monkeypatch.setattr(module, "MAX_LINE_BYTES", size)
    source = tmp_path / "pairs.jsonl"
    source.write_bytes(b"{}\n" + line() + b"zz\n")
    found = f"the line has more than {size:,} bytes, the most that is read"
    with pytest.raises(DataError, match=f"^{re.escape(f'pairs.jsonl:2: {found}; split or shorten the pair')}$"):
        fix(source, tmp_path / "fixed.jsonl", log=tmp_path / "log.jsonl")
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'[\n{"a": 1},\n{"a": 2}\n]\n', r"the file is one JSON list; it must hold one object a line; convert it: "),
        (b"\x1f\x8b\x08\r\n\r\n\x00", r"the file is gzip-compressed; it must be JSON Lines in UTF-8; name it pairs"),
        ("{}\r\n".encode("utf-16"), r"the file is UTF-16 text; it must be JSON Lines in UTF-8; save it as UTF-8"),
    ],
)
def test_a_file_that_is_no_json_lines_is_refused_and_not_copied_with_other_bytes(tmp_path, content, message):
    source = tmp_path / "pairs.jsonl"
    source.write_bytes(content)
    with pytest.raises(DataError, match=f"^pairs\\.jsonl: {message}"):
        fix(source, tmp_path / "fixed.jsonl")
    assert list(tmp_path.iterdir()) == [source]


def test_names_that_cannot_be_read_or_written_are_refused(tmp_path):
    source = tmp_path / "pairs.jsonl"
    source.write_bytes(line())
    for target, log, found in [
        ("fixed.json", None, "expected a .jsonl file to write, found .json; rename it"),
        ("fixed", None, "expected a .jsonl file to write, found no extension; rename it"),
        ("absent/fixed.jsonl", None, "cannot be written (No such file or directory); see that its folder is there and"),
        ("fixed.jsonl", "absent/log.jsonl", "cannot be written (No such file or directory); see that its folder"),
        (".", None, "expected the name of a file to write, found a folder; name a file in it"),
    ]:
        with pytest.raises(DataError, match=re.escape(found)):
            fix(source, tmp_path / target, log=log and tmp_path / log)
        assert list(tmp_path.iterdir()) == [source]
    with pytest.raises(DataError, match="found nothing there"):
        fix(tmp_path / "absent.jsonl", tmp_path / "fixed.jsonl")
