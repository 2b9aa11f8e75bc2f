import json
import os
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preftune.errors import DataError
from preftune.pairs import Split, check, split

BOM = b"\xef\xbb\xbf"


def line(prompt="Q?", chosen="a", rejected="b", **more):
    """Return the bytes of a pair, without line break."""
    row = {
        "input": {"messages": [{"role": "user", "content": prompt}]},
        "preferred_output": [{"role": "assistant", "content": chosen}],
        "non_preferred_output": [{"role": "assistant", "content": rejected}],
        **more,
    }
    return json.dumps(row, ensure_ascii=False).encode()


def prompts(path):
    """Return the prompts of a file's lines."""
    return [json.loads(raw)["input"]["messages"][0]["content"] for raw in path.read_bytes().splitlines()]


def refuses(message):
    return pytest.raises(DataError, match=f"^{re.escape(message)}$")


@pytest.fixture
def halve(tmp_path):
    """Return a function that writes lines to a file and splits it."""

    def halve(*lines, end=b"\n", **options):
        source = tmp_path / "pairs.jsonl"
        source.write_bytes(end.join(lines))
        return split(source, tmp_path / "train.jsonl", tmp_path / "held.jsonl", **options)

    return halve


MANY = [line(f"{number}?") for number in range(40)]


# Which line goes where


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    asked=st.lists(st.integers(0, 6), min_size=2, max_size=25).filter(lambda asked: len(set(asked)) > 1),
    fraction=st.floats(0.001, 0.999),
    seed=st.integers(-(2**70), 2**70),
)
def test_no_prompt_is_on_both_sides_and_every_line_on_one(tmp_path, asked, fraction, seed):
    source, train, held = tmp_path / "pairs.jsonl", tmp_path / "train.jsonl", tmp_path / "held.jsonl"
    lines = [line(f"é{prompt}?", f"a{number}") + b"\n" for number, prompt in enumerate(asked)]
    source.write_bytes(b"".join(lines))
    done = split(source, train, held, fraction=fraction, seed=seed)
    sides = [path.read_bytes().splitlines(keepends=True) for path in (train, held)]
    assert sides[0] == [each for each in lines if each in sides[0]]
    assert sides[1] == [each for each in lines if each not in sides[0]]
    assert not set(prompts(train)) & set(prompts(held))
    assert done == Split(train, held, len(sides[0]), len(sides[1]), len(set(asked)))
    assert done.train_pairs >= 1
    assert done.validation_pairs >= 1
    most = max(Counter(asked).values())
    assert done.validation_pairs < fraction * len(asked) + most
    assert done.validation_pairs >= min(fraction * len(asked), len(asked) - most)


def test_the_two_files_have_no_leakage_for_check(halve):
    done = halve(*[line(f"{number % 9}?", f"a{number}") for number in range(60)], fraction=0.3)
    report = check(done.train, validation=done.validation)
    assert [finding for finding in report.findings if finding.rule == "leakage"] == []


@pytest.mark.parametrize(
    ("pairs", "fraction", "held"),
    [(100, 0.07, 7), (100, 0.29, 29), (40, 0.1, 4), (41, 0.1, 5), (3, 0.1, 1), (40, 1e-300, 1), (40, 0.999, 39)],
)
def test_the_validation_file_gets_its_share_and_no_pair_more(halve, pairs, fraction, held):
    done = halve(*[line(f"{number}?") for number in range(pairs)], fraction=fraction)
    assert (done.train_pairs, done.validation_pairs) == (pairs - held, held)


def test_one_seed_always_takes_the_same_prompts_whatever_their_order(halve):
    taken = [prompts(halve(*lines, seed=7).validation) for lines in (MANY, MANY, MANY[::-1])]
    assert taken[0] == taken[1] == taken[2][::-1]


def test_another_seed_takes_other_prompts(halve):
    taken = {tuple(prompts(halve(*MANY, seed=seed).validation)) for seed in range(20)}
    assert len(taken) == 20


def test_the_same_prompt_with_other_tools_is_another_prompt(halve):
    tools = [{"type": "function", "function": {"name": "f"}}]
    messages = [{"role": "user", "content": "Q?"}]
    assert halve(line(), line(input={"messages": messages, "tools": tools})).prompts == 2


# What is written


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("start", [b"", BOM])
@pytest.mark.parametrize("tail", [b"", b"\n", b"\r\n\r\n \n\n"])
def test_marks_carriage_returns_and_blank_lines_are_left_out(halve, start, end, tail):
    done = halve(start + MANY[0], b"", *MANY[1:-1], b" \t", MANY[-1] + tail, end=end)
    written = done.train.read_bytes() + done.validation.read_bytes()
    assert sorted(written.splitlines(keepends=True)) == sorted(each + b"\n" for each in MANY)


def test_a_line_keeps_its_spelling(halve):
    odd = b'{ "non_preferred_output" :[{"role":"assistant","content":"\\u00e9\\/"}], "weight": 1.50, "x": 1e2,' + (
        line("odd?").removeprefix(b"{")
    )
    odd = odd.replace(b', "non_preferred_output": [{"role": "assistant", "content": "b"}]', b"")
    done = halve(odd, line("other?"))
    assert odd + b"\n" in (done.train.read_bytes(), done.validation.read_bytes())


def test_a_line_may_hold_what_other_readers_take_for_a_line_break(halve):
    done = halve(line("a\u2028b\x85c\x0bd?"), line("e?"))
    assert (done.train_pairs, done.validation_pairs, done.prompts) == (1, 1, 2)


def test_pairs_that_train_nothing_are_split_all_the_same(halve):
    done = halve(line("1?", "a", "a"), line("1?", "a", "a"), line("2?", weight=0))
    assert (done.train_pairs + done.validation_pairs, done.prompts) == (3, 2)


def test_a_file_of_any_name_is_split(tmp_path):
    source = tmp_path / "upload-7"
    source.write_bytes(b"\n".join(MANY))
    done = split(str(source), str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl"))
    assert done == Split(tmp_path / "a.jsonl", tmp_path / "b.jsonl", 36, 4, 40)


def test_an_older_target_is_replaced(halve, tmp_path):
    (tmp_path / "train.jsonl").write_bytes(b"older")
    assert halve(*MANY).train.read_bytes().count(b"\n") == 36


def test_a_split_says_what_it_wrote():
    done = Split(Path("x/a.jsonl"), Path("b.jsonl"), 1_200, 1, 900)
    assert str(done) == "a.jsonl: 1,200 pairs; b.jsonl: 1 pair; 900 prompts, each on one side only"


# What is refused, and leaves nothing


@pytest.mark.parametrize(
    ("fault", "message", "command"),
    [
        (b"{", "not JSON at column 2: expecting property name enclosed in double quotes", "check {}"),
        (b"\xff", "byte 0xff at byte 1 of the line is not UTF-8", "check {}"),
        (BOM + line(), "a byte-order mark at the beginning of the line", "check {}"),
        (b'{"input": {}}', "preferred_output is missing", "check {}"),
        (line(tools=[]), "tools stands beside input; it must stand inside", "fix {} pairs.fixed.jsonl"),
        (
            line(input=[{"role": "user", "content": "Q?"}]),
            "input is a list; it must be an object",
            "fix {} pairs.fixed.jsonl",
        ),
        (
            line(input={"messages": [{"role": "user", "content": "Q?"}], "tools": [{}]}),
            "input.tools[0] declares no function by name; no call can name it",
            "check {}",
        ),
    ],
)
def test_a_line_that_is_no_pair_is_refused_with_its_place_and_the_command_that_tells_more(
    halve, tmp_path, fault, message, command
):
    source = tmp_path / "pairs.jsonl"
    with refuses(f"pairs.jsonl:4: {message}; mend the file first: preftune {command.format(source)}"):
        halve(BOM + line("1?", "a", "a"), line("2?"), b"", fault, fault)
    assert list(tmp_path.iterdir()) == [source]


def test_the_command_of_a_refusal_is_quoted_for_the_shell(tmp_path):
    source = tmp_path / "my pairs.jsonl"
    source.write_bytes(line(tools=[]))
    with pytest.raises(DataError, match=re.escape(f"preftune fix '{source}' 'my pairs.fixed.jsonl'") + "$"):
        split(source, tmp_path / "a.jsonl", tmp_path / "b.jsonl")


@pytest.mark.parametrize(("lines", "found"), [([], 0), ([b"", b" "], 0), ([BOM], 0), ([line(), line("Q?", "c")], 1)])
def test_a_file_with_fewer_than_two_prompts_is_refused(halve, tmp_path, lines, found):
    with refuses(f"pairs.jsonl: expected at least two prompts to split, found {found}; add pairs"):
        halve(*lines)
    assert list(tmp_path.iterdir()) == [tmp_path / "pairs.jsonl"]


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, 10, float("nan"), float("inf")])
def test_a_share_that_is_none_is_refused(halve, fraction):
    with refuses(f"fraction={fraction}: expected a share between 0 and 1; 0.1 gives a tenth to the validation file"):
        halve(*MANY, fraction=fraction)


def test_targets_must_be_two_files_and_neither_the_source(tmp_path):
    source, other = tmp_path / "pairs.jsonl", tmp_path / "a.jsonl"
    source.write_bytes(b"\n".join(MANY))
    hard, soft = tmp_path / "hard.jsonl", tmp_path / "soft.jsonl"
    os.link(source, hard)
    soft.symlink_to(source)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for train, held in [
        (source, other), (other, source), (other, other), (other, tmp_path / "x" / ".." / "a.jsonl"), (hard, other),
        (other, soft),
    ]:  # fmt: skip
        with pytest.raises(DataError, match=r"expected a file of its own, found one that is read or written as well"):
            split(source, train, held)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("which", [0, 1])
def test_a_target_that_cannot_be_written_leaves_neither(tmp_path, which):
    source, folder = tmp_path / "pairs.jsonl", tmp_path / "folder.jsonl"
    source.write_bytes(b"\n".join(MANY))
    folder.mkdir()
    for bad in (folder, tmp_path / "absent" / "b.jsonl", tmp_path / "b.txt"):
        targets = [tmp_path / "a.jsonl", tmp_path / "a.jsonl"]
        targets[which] = bad
        with pytest.raises(DataError, match=f"^{re.escape(str(bad))}: "):
            split(source, *targets)
        assert sorted(tmp_path.iterdir()) == [folder, source]


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="found nothing there"):
        split(tmp_path / "absent.jsonl", tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    with pytest.raises(DataError, match="found a folder"):
        split(tmp_path, tmp_path / "a.jsonl", tmp_path / "b.jsonl")
