import json
import pickle
import re
from array import array
from functools import reduce
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preftune.pairs import jsonl, merge, plain, scan, summary
from preftune.pairs.finding import Gathering
from preftune.pairs.fingerprint import plain_fingerprints, sample_rank
from preftune.pairs.plain import read_plain
from preftune.pairs.rules.catalog import RULES, pair_line
from preftune.pairs.summary import Place, Summary

GOOD = pair_line()
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def numbers(*lines):
    """Return the fingerprints of plain lines."""
    return [plain_fingerprints(read_plain(line)) for line in lines]


def problems(found: Summary):
    return [(found.rule, found.count, found.lines) for found in found.problems.findings()]


def test_scan_counts_lines_bytes_rows_and_pairs(write_bytes):
    bad, other = b'{"input": 1}', pair_line("Another?", "x", "y")
    content = b"\n".join([GOOD, b"", bad, other + b"\r", b" \t", b"[1]", GOOD])
    found = scan(write_bytes(content))
    assert (found.lines, found.bytes, found.rows, found.pairs) == (7, len(content), 5, 3)
    assert list(zip(found.prompts, found.chosen, found.rejected, strict=True)) == numbers(GOOD, other, GOOD)
    assert found.numbers == array("I", [1, 4, 7])
    assert found.sample == sorted(
        Place(sample_rank(marks), number, offset, length)
        for marks, number, offset, length in zip(
            numbers(GOOD, other, GOOD),
            (1, 4, 7),
            (0, content.index(other), len(content) - len(GOOD)),
            (len(GOOD) + 1, len(other) + 2, len(GOOD)),
            strict=True,
        )
    )
    assert problems(found) == [
        ("keys", 1, (3,)),
        ("keys", 1, (3,)),
        ("input", 1, (3,)),
        ("line", 1, (6,)),
        ("blank", 2, (2, 5)),
        ("blank", 1, (4,)),
    ]


def test_scan_of_an_empty_file_is_an_empty_summary(write_bytes):
    assert scan(write_bytes(b"")) == Summary(summary.SAMPLE)
    assert scan(write_bytes(b""), 7, sample=3) == Summary(3)


def test_scan_takes_a_path_as_text_and_any_name(write_bytes):
    path = write_bytes(GOOD, name="upload-7")
    assert scan(str(path)) == scan(path)
    assert scan(path).pairs == 1


def test_scan_raises_as_opening_a_file_does(tmp_path):
    with pytest.raises(FileNotFoundError):
        scan(tmp_path / "absent.jsonl")
    with pytest.raises(IsADirectoryError):
        scan(tmp_path)


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (GOOD.replace(b"Seven", b"\xff"), "encoding"),
        (GOOD.replace(b"Seven", b"\xed\xa0\x80"), "encoding"),
        (GOOD.replace(b"Seven", b"\0"), "encoding"),
        (GOOD.replace(b"Seven", b"\\ud800"), "encoding"),
        (b"\xef\xbb\xbf" + GOOD, "encoding"),
        (GOOD + GOOD, "line"),
        (GOOD[:-1] + b', "weight": NaN}', "line"),
        (GOOD[:-1] + b', "weight": Infinity}', "line"),
        (GOOD[:-1] + b', "weight": -Infinity}', "line"),
        (GOOD[:-1] + b', "weight": 1e999}', "line"),
        (GOOD[:-1] + b', "weight": 1, "w\\u0065ight": 2}', "line"),
        (GOOD[:-1] + b', "x": ' + b"[" * 64 + b"]" * 64 + b"}", "line"),
        (GOOD[:-1] + b', "x": ' + b"[" * 100_000, "line"),
        (GOOD[:-1], "line"),
        (b"\x0c" + GOOD, "line"),
    ],
)  # fmt: skip
def test_scan_finds_what_is_no_row_on_its_line_and_goes_on(write_bytes, line, rule):
    found = scan(write_bytes(GOOD + b"\n\n" + line + b"\n" + pair_line("Another?") + b"\n"))
    assert problems(found) == [(rule, 1, (3,)), ("blank", 1, (2,))]
    assert found.numbers == array("I", [1, 4])


def test_scan_finds_a_line_beyond_the_limit_and_counts_on(write_bytes, monkeypatch):
    for module in (jsonl, plain):
        monkeypatch.setattr(module, "MAX_LINE_BYTES", len(GOOD))
    found = scan(write_bytes(GOOD + b"\n" + GOOD + b" \n" + b"x" * 100_000 + b"\n" + GOOD))
    assert problems(found) == [("line", 2, (2, 3))]
    assert found.numbers == array("I", [1, 4])


def test_scan_takes_a_byte_order_mark_at_the_beginning_of_the_file_alone(write_bytes):
    mark = b"\xef\xbb\xbf"
    found = scan(write_bytes(mark + GOOD + b"\n" + mark + GOOD + b"\n" + mark + b"\n"))
    assert problems(found) == [("encoding", 1, (1,)), ("encoding", 2, (2, 3))]
    assert found.numbers == array("I", [1])


def test_scan_finds_identical_answers_on_every_line(write_bytes):
    lines = [pair_line(chosen="Nine.", rejected="Nine."), GOOD, pair_line(chosen="nine. ", rejected="Nine.", x=1)]
    found = scan(write_bytes(b"\n".join(lines)), sample=0)
    assert problems(found) == [("identical", 1, (1,)), ("keys", 1, (3,)), ("identical", 1, (3,))]


def test_a_pair_with_an_error_is_kept_out_and_one_with_a_warning_is_kept(write_bytes):
    found = scan(write_bytes(pair_line(weight=-1) + b"\n" + pair_line(score=1) + b"\n" + pair_line(weight=0)))
    assert found.numbers == array("I", [2, 3])


def test_the_sample_is_the_pairs_of_smallest_rank(write_bytes):
    path = write_bytes(b"\n".join(pair_line(f"Question {number % 40}?") for number in range(60)))
    everything = scan(path, sample=1_000).sample
    assert everything == sorted(everything)
    assert len(everything) == 60
    for size in (0, 1, 2, 7, 30, 59, 60):
        assert scan(path, sample=size).sample == everything[:size]


def test_a_place_of_the_sample_points_at_its_line(write_bytes):
    lines = [pair_line(f"Question {number}?") for number in range(9)]
    path = write_bytes(b"\xef\xbb\xbf" + b"\r\n\n".join(lines))
    content = path.read_bytes()
    read = {place.line: content[place.offset : place.offset + place.length] for place in scan(path, sample=9).sample}
    assert {number: raw.removeprefix(b"\xef\xbb\xbf").strip() for number, raw in read.items()} == {
        1 + 2 * number: line for number, line in enumerate(lines)
    }


@pytest.mark.parametrize("every", [1, 300, 10**9])
def test_scan_tells_how_many_bytes_it_read(write_bytes, monkeypatch, every):
    monkeypatch.setattr(summary, "_TOLD_EVERY", every)
    told = []
    path = write_bytes((GOOD + b"\n") * 9)
    scan(path, progress=told.append)
    assert sum(told) == path.stat().st_size
    assert all(more >= 0 for more in told)
    assert len(told) == {1: 10, 300: 5, 10**9: 1}[every]


def test_scan_of_a_part_tells_the_bytes_of_its_lines(write_bytes):
    told = []
    path = write_bytes((GOOD + b"\n") * 3)
    found = scan(path, 1, len(GOOD) + 2, progress=told.append)
    assert (found.lines, found.bytes, told) == (1, len(GOOD) + 1, [len(GOOD) + 1])


def test_merge_moves_lines_behind_those_before(write_bytes):
    path = write_bytes(b"\n".join([GOOD, b"[]", b"", GOOD, b"[]"]))
    cut = len(GOOD) + 2
    first, second = scan(path, 0, cut), scan(path, cut)
    assert (first.lines, second.lines) == (2, 3)
    whole = merge(first, second)
    assert whole.numbers == array("I", [1, 4])
    assert [place.line for place in whole.sample] == [1, 4]
    assert problems(whole) == [("line", 2, (2, 5)), ("blank", 1, (3,))]
    assert whole.sample_size == summary.SAMPLE


def test_a_summary_is_small_and_the_same_after_pickling(write_bytes):
    found = scan(write_bytes(b"\n".join([GOOD, b"", b"{", GOOD])))
    assert pickle.loads(pickle.dumps(found)) == found  # noqa: S301 - our own
    assert found.prompts.itemsize + found.chosen.itemsize + found.rejected.itemsize + found.numbers.itemsize == 20


# Whatever the file holds, wherever it is cut

ROW = json.loads(GOOD)
LINES = st.one_of(
    st.builds(pair_line, st.sampled_from("PQ"), st.sampled_from("abc"), st.sampled_from("abcA")),
    st.sampled_from([line for rule in RULES if rule.sees == "every line" for line in rule.lines]),
    st.sampled_from([
        b"", b" ", b"\r", b"{", b"[]", b"null", b"\xef\xbb\xbf", b"\xef\xbb\xbf" + GOOD, GOOD + b"\r", GOOD + GOOD,
        GOOD[:-1] + b', "weight": 1, "weight": 2}', GOOD[:-1] + b', "weight": 0.5}', GOOD[:-1] + b', "id": 7}',
        json.dumps(ROW, separators=(",", ":")).encode(), json.dumps(dict(reversed(ROW.items()))).encode(),
        GOOD.replace(b"Seven", b"\\u0022"), GOOD.replace(b"Seven", b"\\ud800"), GOOD.replace(b"Seven", b"\xff"),
        GOOD.replace(b'"content"', b'"name": 1, "content"'), b'{"prompt": "", "chosen": "", "rejected": ""}',
    ]),
    st.binary(max_size=4),
)  # fmt: skip
FILES = st.tuples(
    st.sampled_from([b"", b"", b"\xef\xbb\xbf"]),
    st.lists(LINES, max_size=12),
    st.sampled_from([b"\n", b"\n", b"\r\n"]),
    st.sampled_from([b"", b"\n"]),
).map(lambda parts: parts[0] + parts[2].join(parts[1]) + parts[3])


@QUICK
@given(content=FILES, data=st.data(), sample=st.integers(0, 6))
def test_scan_of_two_parts_merges_to_the_scan_of_the_whole_for_a_cut_at_any_byte(tmp_path, content, data, sample):
    path = tmp_path / "any.jsonl"
    path.write_bytes(content)
    cut = data.draw(st.integers(0, len(content) + 2), label="cut")
    whole = scan(path, sample=sample)
    merged = merge(scan(path, 0, cut, sample=sample), scan(path, cut, sample=sample))
    assert merged == whole
    assert merged.problems.findings() == whole.problems.findings()
    assert whole.bytes == len(content)


@QUICK
@given(content=FILES, data=st.data(), sample=st.integers(0, 6))
def test_scans_of_several_parts_merge_to_the_same_in_any_grouping(tmp_path, content, data, sample):
    path = tmp_path / "any.jsonl"
    path.write_bytes(content)
    cuts = data.draw(st.lists(st.integers(0, len(content)), min_size=1, max_size=5), label="cuts")
    bounds = list(pairwise([0, *sorted(cuts), len(content)]))

    def grouped(parts):
        """Return the merge of neighbouring parts, in a grouping drawn for it."""
        if len(parts) == 1:
            return scan(path, *parts[0], sample=sample)
        at = data.draw(st.integers(1, len(parts) - 1), label="grouping")
        return merge(grouped(parts[:at]), grouped(parts[at:]))

    whole = scan(path, sample=sample)
    found = grouped(bounds)
    assert found == whole
    assert found.problems.findings() == whole.problems.findings()
    assert reduce(merge, (scan(path, start, stop, sample=sample) for start, stop in bounds)) == whole


@QUICK
@given(content=FILES)
def test_scan_says_the_same_when_every_line_is_looked_at_with_care(tmp_path, content):
    path = tmp_path / "any.jsonl"
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(summary, "read_plain", lambda _: None)
        careful = scan(path)
    assert scan(path) == careful


@QUICK
@given(content=FILES)
def test_the_lines_of_a_finding_are_the_first_on_which_it_is_found(tmp_path, content):
    path, alone = tmp_path / "any.jsonl", tmp_path / "one.jsonl"
    content = b"\n" + content  # so that no line has the beginning of the file to itself
    path.write_bytes(content)
    expected = Gathering()
    for number, line in enumerate(re.findall(rb"[^\n]*\n|[^\n]+", content)):
        alone.write_bytes(b"\n" + line)
        expected.merge(scan(alone, 1).problems, lines_before=number)
    assert scan(path).problems == expected
