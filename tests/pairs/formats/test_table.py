"""The table of layouts as a whole; what each reader takes and refuses stands in the file of its family."""

import copy
import json
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.pairs import PreferencePair
from preftune.pairs.formats.layout import CLASSED, SCORED, Ranking, Tie, Unfit, Unrated
from preftune.pairs.formats.pairing import PAIRINGS
from preftune.pairs.formats.reading import Choices, Reading
from preftune.pairs.formats.table import LAYOUTS, layout_of

PROMPT = [{"role": "user", "content": "Name a prime number."}]
CHOSEN, REJECTED = {"role": "assistant", "content": "7"}, {"role": "assistant", "content": "9"}
each_layout = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)


def readers(layout):
    return list(layout.read.values()) if isinstance(layout.read, Mapping) else [layout.read]


@each_layout
def test_the_example_of_a_layout_is_known_as_it_and_makes_one_pair(layout):
    assert [layout_of(row) for row in layout.example] == [layout] * len(layout.example)
    reading = Reading(enumerate(layout.example), layout, Choices(label=layout.labels[0] if layout.labels else None))
    [(_, pair)] = reading
    assert (pair.prompt, pair.chosen, pair.rejected, pair.tools) == (PROMPT, CHOSEN, REJECTED, None)
    assert (reading.rows, reading.dropped) == (len(layout.example), {})


@each_layout
def test_an_example_is_plain_json(layout):
    rows = list(layout.example)
    assert json.loads(json.dumps(rows)) == rows


def test_names_and_titles_are_unique_and_together_stands_first():
    assert len({layout.name for layout in LAYOUTS}) == len({layout.title for layout in LAYOUTS}) == len(LAYOUTS)
    assert LAYOUTS[0].name == "together"


def test_every_way_to_pair_that_a_layout_names_is_there():
    assert {*SCORED, *CLASSED} == PAIRINGS.keys()
    assert {layout.pairings for layout in LAYOUTS} == {(), SCORED, CLASSED}


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"a": 1},
        {"messages": [PROMPT]},
        {"messages": PROMPT},
        {"messages": None, "label": "x"},
        {"prompt": "p", "completion": "c"},
        {"text": "a text", "label": 1},
        {"instruction": "i", "output": "o"},
        {"prompt": "p", "response": "r"},
    ],
)
def test_a_row_of_no_known_layout_has_none(row):
    assert layout_of(row) is None


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"chosen": "a", "rejected": "b"}, "trl"),
        ({"prompt": "p", "chosen": "a", "rejected": "b"}, "trl"),
        ({"prompt": "\n\nHuman: p\n\nAssistant:", "chosen": "a", "rejected": "b"}, "hh"),
        ({"prompt": "p", "chosen": "\n\nHuman: a", "rejected": "\n\nHuman: b"}, "trl"),
        ({"messages": PROMPT, "rejected_response": "b"}, "openpipe"),
        ({"messages": PROMPT, "kto_tag": True}, "llamafactory-kto"),
        ({"conversations": [], "label": False}, "llamafactory-kto"),
        ({"instruction": "i", "output": ["a", "b"]}, "alpaca"),
        ({"prompt": "p", "chosen": [CHOSEN], "rejected": [REJECTED], "chosen-rating": 5, "rejected-rating": 1,
          "generations": [], "ratings": []}, "ultrafeedback-binarized"),
        ({"prompt": "p", "messages": PROMPT, "chosen": [CHOSEN], "rejected": [REJECTED]}, "trl"),
    ],
)  # fmt: skip
def test_layout_of_tells_likenesses_apart(row, name):
    assert layout_of(row).name == name


# Whatever the rows hold

SCALARS = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=True)
    | st.sampled_from(["", "user", "assistant", "tool", "function_call", "[]", "{", "\n\nHuman:", "<extra_id_1>"])
    | st.text(max_size=5)
)  # fmt: skip
INNER_KEYS = st.sampled_from(
    ["role", "content", "from", "value", "text", "tool_calls", "function", "messages", "rank", "completion", "parts"]
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(INNER_KEYS | st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
KEYS = sorted({key for layout in LAYOUTS for row in layout.example for key in row} | {"system", "tools", "history"})


def places(value, path=()):
    """Return the path of every value within a row."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, inner in items for place in places(inner, (*path, key)))]


@st.composite
def mutated(draw):
    """Return a layout and its example with up to three values changed or added."""
    layout = draw(st.sampled_from(LAYOUTS))
    row = copy.deepcopy(draw(st.sampled_from(layout.example)))
    for _ in range(draw(st.integers(0, 3))):
        *outer, last = draw(st.sampled_from([place for place in places(row) if place] or [("x",)]))
        target = row
        for key in outer:
            target = target[key]
        target[last] = draw(JSON)
        if draw(st.booleans()):
            row[draw(st.sampled_from(KEYS))] = draw(JSON)
    return layout, row


def bears(layout, row):
    """Read a row in every way that the layout has; anything but its own refusals falls through."""
    layout_of(row)
    for read in readers(layout):
        try:
            found = read(row)
        except (Unfit, Tie, Unrated):
            continue
        else:
            assert isinstance(found, PreferencePair | Ranking)
            assert isinstance(found.prompt, list)


@settings(deadline=None, max_examples=500)
@given(mutated())
def test_a_changed_example_is_read_or_refused_with_a_reason(case):
    bears(*case)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(LAYOUTS), st.dictionaries(st.sampled_from(KEYS), JSON, max_size=6))
def test_any_object_is_read_or_refused_with_a_reason(layout, row):
    bears(layout, dict.fromkeys(layout.keys) | row)


@given(st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), JSON, max_size=6))
def test_layout_of_bears_any_object(row):
    layout_of(row)
