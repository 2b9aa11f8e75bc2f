from xml.etree import ElementTree as ET

import pytest

from preftune.charts import Histogram, draw_blocks, draw_histogram

SVG = "{http://www.w3.org/2000/svg}"
LENGTHS = Histogram("a <b> & c", "<i>", [1, 10, 1_000], {"chosen": [4, 2], "rejected": [0, 1]})


@pytest.mark.parametrize(
    ("counts", "drawn"),
    [
        ([], ""),
        ([0, 0], "  "),
        ([1], "█"),
        ([8, 7, 4, 1, 0], "█▇▄▁ "),
        ([1, 1_000_000], "▁█"),
        ([0, 10**30, 10**29], " █▁"),
    ],
)
def test_blocks_are_as_high_as_their_counts_and_only_zero_is_drawn_as_nothing(counts, drawn):
    assert draw_blocks(counts) == drawn


def test_the_picture_is_well_formed_and_escaped():
    root = ET.fromstring(draw_histogram(LENGTHS))
    assert root.find(f"{SVG}title").text == "a <b> & c"
    assert [text.text for text in root.findall(f"{SVG}text")][1:4] == ["1", "<i>", "1,000"]
    assert "script" not in draw_histogram(LENGTHS)


def test_the_outlines_are_as_high_as_the_counts():
    root = ET.fromstring(draw_histogram(LENGTHS, width=216, height=142))
    assert [path.get("d") for path in root.findall(f"{SVG}path")] == [
        "M8 122H208",  # the floor
        "M8 122V22.0h100.00V72.0h100.00V122",
        "M8 122V122.0h100.00V97.0h100.00V122",
    ]


def test_a_histogram_of_nothing_is_flat():
    root = ET.fromstring(draw_histogram(Histogram("t", "u", [0, 1], {"a": [0]}), width=116, height=142))
    assert root.findall(f"{SVG}path")[1].get("d") == "M8 122V122.0h100.00V122"


def test_the_legend_names_each_series_in_its_colour_from_left_to_right():
    root = ET.fromstring(draw_histogram(LENGTHS, width=360))
    squares = {square.get("fill"): int(square.get("x")) for square in root.findall(f"{SVG}rect")}
    names = {text.text: int(text.get("x")) for text in root.findall(f"{SVG}text") if text.text in LENGTHS.counts}
    assert list(squares) == [path.get("fill") for path in root.findall(f"{SVG}path")[:0:-1]]
    assert sorted([*squares.values(), *names.values()]) == [
        squares["#0072b2"], names["chosen"], squares["#d55e00"], names["rejected"],
    ]  # fmt: skip
    assert names["rejected"] + 6 * len("rejected") <= 352


def test_six_series_are_told_apart_and_a_seventh_takes_the_first_colour_again():
    root = ET.fromstring(draw_histogram(Histogram("t", "u", [0, 1], {name: [1] for name in "abcdefg"})))
    colours = [path.get("fill") for path in root.findall(f"{SVG}path")[1:]]
    assert (len(set(colours)), colours[6]) == (6, colours[0])
