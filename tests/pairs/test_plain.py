import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.pairs import PreferencePair, plain
from preftune.pairs.fingerprint import fingerprints, plain_fingerprints
from preftune.pairs.formats import together
from preftune.pairs.jsonl import Unreadable, decode
from preftune.pairs.plain import Plain, read_plain
from preftune.pairs.rules import line
from preftune.pairs.rules.schema import check_row

SPACED, COMPACT = (", ", ": "), (",", ":")
QUICK = settings(max_examples=250, deadline=None)


def messages(*turns):
    return [{"role": role, "content": text} for role, text in turns]


def row(*turns, chosen="a", rejected="b", **more):
    return {
        "input": {"messages": messages(*(turns or [("user", "Q?")]))},
        "preferred_output": messages(("assistant", chosen)),
        "non_preferred_output": messages(("assistant", rejected)),
    } | more


def written(value, separators=SPACED, *, ascii_only=False, end="\n"):
    return (json.dumps(value, ensure_ascii=ascii_only, separators=separators) + end).encode()


def read_with_care(raw):
    """Return what the rules on lines and rows say of a line, and the pair in it when they say nothing."""
    try:
        value = decode(raw.removesuffix(b"\n"))
    except Unreadable as reason:
        return [line.unreadable(reason)], None
    problems = [*line.blank(raw), *check_row(value)]
    return problems, None if problems else together.read(value)


TEXT = 'He said: "no\\yes" \n\t\u2028 é \U0001f600 {"role": "user"}]}, \\u0022'


@pytest.mark.parametrize("separators", [SPACED, COMPACT, (",\t", " : "), (" ,", ":")])
@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("end", ["\n", "", " \n", "\t"])
@pytest.mark.parametrize(
    "turns", [[("user", TEXT)], [("system", ""), ("user", TEXT), ("assistant", TEXT), ("user", "?")], [("tool", "1")]]
)
def test_read_plain_returns_a_plain_row_as_any_json_library_writes_it(separators, ascii_only, end, turns):
    texts = [text.replace('"', "'").replace("u0022", "") for _, text in turns]  # see the next test
    turns = list(zip((role for role, _ in turns), texts, strict=True))
    expected = Plain(tuple(role for role, _ in turns), texts, "a", "b")
    assert read_plain(written(row(*turns), separators, ascii_only=ascii_only, end=end)) == expected


@pytest.mark.parametrize("separators", [SPACED, COMPACT])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_read_plain_keeps_quotation_marks_and_backslashes_of_the_usual_writers(separators, ascii_only):
    raw = written(row(("user", TEXT), chosen=TEXT, rejected=TEXT[1:]), separators, ascii_only=ascii_only)
    assert read_plain(raw) == Plain(("user",), [TEXT], TEXT, TEXT[1:])


@pytest.mark.parametrize(("written_as", "weight"), [("1", 1.0), ("0.5", 0.5), ("1e-9", 1e-9), ("1E+2", 100.0)])
def test_read_plain_takes_keys_in_any_order_and_a_weight(written_as, weight):
    raw = (
        f'{{"weight": {written_as}, "non_preferred_output": [{{"content": "b", "role": "assistant"}}],'
        ' "preferred_output": [{"content": "\\"a\\"", "role": "assistant"}],'
        ' "input": {"messages": [{"content": "Q?", "role": "user"}]}}'
    ).encode()
    assert read_plain(raw) == Plain(("user",), ["Q?"], '"a"', "b", weight)


def test_a_plain_row_gives_the_pair_that_it_holds():
    plainly = Plain(("system", "user"), ["Be brief.", "Q?"], "a", "b", 0.5)
    assert plainly.pair() == PreferencePair(
        messages(("system", "Be brief."), ("user", "Q?")),
        {"role": "assistant", "content": "a"},
        {"role": "assistant", "content": "b"},
        weight=0.5,
    )


def swapped(before, after, value=None):
    raw = written(value or row())
    assert before.encode() in raw
    return raw.replace(before.encode(), after.encode(), 1)


NOT_PLAIN = {
    "nothing": b"",
    "a line break": b"\n",
    "no JSON": b"{\n",
    "a list": b"[]\n",
    "text": b'"x"\n',
    "an empty object": b"{}\n",
    "a mark": b"\xef\xbb\xbf" + written(row()),
    "CRLF": written(row(), end="\r\n"),
    "CRLF after a line in another order": written(dict(reversed(row().items())), end="\r\n"),
    "two rows": written(row(), end=" ") + written(row()),
    "a cut": written(row())[:-3],
    "a cut within the last pieces": written(row())[: written(row()).index(b'"b"')] + b"}]}\n",
    "bytes that are not UTF-8": written(row()).replace(b"Q?", b"\xff"),
    "bytes that are not UTF-8 in another order": written(dict(reversed(row().items()))).replace(b"Q?", b"\xff"),
    "a surrogate in bytes": written(row()).replace(b"Q?", b"\xed\xa0\x80"),
    "an escape of half a character": swapped("Q?", "\\ud800"),
    "the other half": swapped("Q?", "\\udc00"),
    "a NUL byte": swapped("Q?", "\0"),
    "a control character": swapped("Q?", "\x1f"),
    "a tab in a text": swapped("Q?", "\t"),
    "a number for a text": swapped('"Q?"', "1"),
    "null for a text": swapped('"Q?"', "null"),
    "two texts for one": swapped('"Q?"', '"Q?", "Q?"'),
    "content parts": swapped('"Q?"', '[{"type": "text", "text": "Q?"}]'),
    "one more key in a message": swapped('"Q?"', '"Q?", "name": "x"'),
    "one more key in an answer": swapped('"a"', '"a", "name": "x"'),
    "one more key of a row": swapped("]}\n", '], "id": 1}\n'),
    "one more key of input": swapped("]}, ", '], "tools": []}, '),
    "a weight of nothing": written(row(weight=0)),
    "a weight under zero": written(row(weight=-1)),
    "a weight that is text": written(row(weight="1")),
    "a weight that is null": written(row(weight=None)),
    "a weight that is true": written(row(weight=True)),
    "a weight that is NaN": written(row(weight=float("nan"))),
    "a weight that is Infinity": written(row(weight=float("inf"))),
    "a weight too large": swapped("]}\n", '], "weight": 1e999}\n'),
    "a weight too small to differ from zero": swapped("]}\n", '], "weight": 1e-999}\n'),
    "an unknown role": written(row(("human", "Q?"))),
    "a role spelled with an escape": swapped('"user"', '"us\\u0065r"'),
    "no role": swapped('"role": "user", ', ""),
    "an empty role": written(row(("", "Q?"))),
    "an empty answer": written(row(chosen="")),
    "an answer of white space": written(row(rejected=" \n\u3000")),
    "an answer by the user": swapped('put": [{"role": "assistant"', 'put": [{"role": "user"'),
    "the other answer by the user": swapped(
       'non_preferred_output": [{"role": "assistant"', 'non_preferred_output": [{"role": "user"'),
    "an answer in the context": written(row(("user", "Q?"), ("assistant", "A."))),
    "two of the user": written(row(("user", "Q?"), ("user", "Q?"))),
    "two of the assistant": written(row(("assistant", "A."), ("assistant", "A."), ("user", "Q?"))),
    "the assistant first": written(row(("assistant", "A."), ("user", "Q?"))),
    "a late system message": written(row(("user", "Q?"), ("system", "S."), ("user", "Q?"))),
    "no message": written(row() | {"input": {"messages": []}}),
    "no messages": written(row() | {"input": {}}),
    "no answer": written(row() | {"preferred_output": []}),
    "two answers": written(row() | {"preferred_output": messages(("assistant", "a"), ("assistant", "b"))}),
    "an answer that is no list": written(row() | {"preferred_output": messages(("assistant", "a"))[0]}),
    "one answer missing": written({key: row()[key] for key in ("input", "preferred_output")}),
    "a piece that stands twice": written(row()).replace(
        b'}], "non_preferred_output"',
        b'}]}, "preferred_output": [{"role": "assistant", "content": "a"}], "non_preferred_output"',
    ),
    "a quotation mark that is not escaped": swapped("Q?", 'Q"?'),
    "pieces in a text whose quotation marks are not escaped": swapped(
        "Q?", 'Q?"}]}, "preferred_output": [{"role": "assistant", "content": "'
    ),
}  # fmt: skip


@pytest.mark.parametrize("raw", NOT_PLAIN.values(), ids=NOT_PLAIN)
@pytest.mark.parametrize("compact", [False, True], ids=["spaced", "compact"])
def test_read_plain_leaves_to_the_rules_what_may_be_at_fault(raw, compact):
    assert read_plain(raw.replace(b": ", b":").replace(b", ", b",") if compact else raw) is None


OBJECTS = {
    "row": '"input": {"messages": [', "input": '"messages": [', "message": '"role": "user"',
    "chosen": '"role": "assistant", "content": "a"', "rejected": '"role": "assistant", "content": "b"',
}  # fmt: skip


@pytest.mark.parametrize("place", OBJECTS.values(), ids=OBJECTS)
@pytest.mark.parametrize(
    "again", ['"input": 1', '"messages": []', '"role": "x"', '"content": "\\""', '"r\\u006fle": ""']
)
@pytest.mark.parametrize("text", ["Q?", 'Q""""', "\\u0022\\u0022\\u0022", "\\\\\\u0022\\u0022"])
@pytest.mark.parametrize("turned", [False, True])
def test_read_plain_leaves_a_key_that_stands_twice_in_any_object(place, again, text, turned):
    value = row(chosen="a", rejected="b")
    raw = written(dict(reversed(value.items())) if turned else value)
    raw = raw.replace(b"Q?", text.replace('"', '\\"').encode())
    assert place.encode() in raw
    assert read_plain(raw.replace(place.encode(), f"{again}, {place}".encode())) is None


@pytest.mark.parametrize("again", ['"weight": 2', '"w\\u0065ight": 1'])
@pytest.mark.parametrize("answer", ["a", "\\u0022", "\\u0022\\u0022", "\\\\u0022\\u0022"])
def test_read_plain_leaves_a_weight_that_stands_twice(again, answer):
    raw = written(row(weight=1)).replace(b'"a"', f'"{answer}"'.encode())
    assert read_plain(raw.replace(b'"weight": 1', f'"weight": 1, {again}'.encode())) is None


def test_read_plain_leaves_a_line_beyond_the_limit(monkeypatch):
    raw = written(row())
    monkeypatch.setattr(plain, "MAX_LINE_BYTES", len(raw))
    assert read_plain(raw) is not None
    assert read_plain(raw[:-1] + b" \n") is None


# Both paths agree, whatever is written

TEXTS = st.one_of(
    st.text(max_size=6),
    st.lists(
        st.sampled_from(['"', "\\", "\\u0022", "}, {", '"role": "', "é", "\0", " ", "\n", "a", '": "']), max_size=6
    ).map("".join),
)  # fmt: skip
ROLES = st.sampled_from(["user", "assistant", "system", "tool"])
CONTEXTS = st.sampled_from(["u", "su", "uau", "suau", "t", "uatu", "au", "uu", "us", "ua"]).flatmap(
    lambda roles: st.tuples(*[
        st.tuples(st.just({"u": "user", "a": "assistant", "s": "system", "t": "tool"}[role]), TEXTS) for role in roles
    ])
)  # fmt: skip
WEIGHTS = st.none() | st.integers(-1, 2**53) | st.floats(allow_nan=True) | st.booleans()


def _escaped(text, draw):
    """Return a JSON text in which any character may be an escape."""
    body = json.dumps(text, ensure_ascii=draw(st.booleans()))[1:-1]
    if draw(st.booleans()):
        body = body.replace('\\"', "\\u0022")
    if body.isalpha() and body.isascii() and not draw(st.integers(0, 9)):
        body = f"\\u{ord(body[0]):04x}" + body[1:]
    return f'"{body}"'


def _object(pairs, draw, comma, colon):
    """Return a JSON object of keys and written values, in any order, one of them sometimes twice."""
    pairs = draw(st.permutations(pairs)) if draw(st.booleans()) else list(pairs)
    if not draw(st.integers(0, 15)):
        again = draw(st.sampled_from(pairs))
        pairs.insert(draw(st.integers(0, len(pairs))), again)
    return "{" + comma.join(_escaped(key, draw) + colon + value for key, value in pairs) + "}"


@st.composite
def lines(draw):
    comma, colon = draw(st.sampled_from([SPACED, COMPACT, (" ,", " : ")]))

    def message(role, text):
        return _object([("role", _escaped(role, draw)), ("content", _escaped(text, draw))], draw, comma, colon)

    context = "[" + comma.join(message(*turn) for turn in draw(CONTEXTS)) + "]"
    pairs = [("input", _object([("messages", context)], draw, comma, colon))]
    pairs += [
        (key, f"[{message(draw(st.just('assistant') | ROLES), draw(TEXTS))}]")
        for key in ("preferred_output", "non_preferred_output")
    ]
    weight = draw(WEIGHTS)
    if weight is not None:
        pairs.append(("weight", json.dumps(weight)))
    return (_object(pairs, draw, comma, colon) + draw(st.sampled_from(["\n", "\n", "", "\r\n", " \n"]))).encode()


def assert_paths_agree(raw):
    found = read_plain(raw)
    problems, pair = read_with_care(raw)
    if found is not None:
        assert problems == []
        assert found.pair() == pair
        assert plain_fingerprints(found) == fingerprints(pair)


@QUICK
@given(lines())
def test_a_plain_row_has_no_problem_and_both_paths_give_the_same_pair_and_fingerprints(raw):
    assert_paths_agree(raw)


@QUICK
@given(
    turns=CONTEXTS, chosen=TEXTS, rejected=TEXTS, separators=st.sampled_from([SPACED, COMPACT]),
    ascii_only=st.booleans(), end=st.sampled_from(["\n", "\r\n"]),
)  # fmt: skip
def test_a_row_without_fault_written_the_usual_way_is_plain(turns, chosen, rejected, separators, ascii_only, end):
    raw = written(row(*turns, chosen=chosen, rejected=rejected), separators, ascii_only=ascii_only, end=end)
    assert (read_plain(raw) is None) is bool(read_with_care(raw)[0])
    assert_paths_agree(raw)


@QUICK
@given(
    raw=lines(),
    at=st.integers(0, 400),
    cut=st.integers(0, 30),
    piece=st.binary(max_size=3)
    | st.sampled_from(
        [b'"', b'"role": "user", ', b'"r\\u006fle":"user",', b'", "content": ', b'}, {"role": "', b"\\", b"}]}"]
    ),
)  # fmt: skip
def test_both_paths_agree_on_any_change_of_a_line(raw, at, cut, piece):
    assert_paths_agree(raw[:at] + piece + raw[at + cut :])
