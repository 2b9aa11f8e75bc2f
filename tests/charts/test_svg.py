from xml.etree import ElementTree as ET

import pytest

from preftune.charts import Panel, Series, draw_svg
from preftune.charts.svg import COLOURS

SVG = "{http://www.w3.org/2000/svg}"

PANEL = Panel(
    "a <b> & c", [Series("chosen", [(0, 0.0), (10, 1.0)]), Series("rejected", [(0, 1.0), (10, 0.0)])], ("half", 0.5)
)


def test_the_picture_is_well_formed_and_escaped():
    root = ET.fromstring(draw_svg(PANEL))
    assert root.find(f"{SVG}title").text == "a <b> & c"
    assert "script" not in draw_svg(PANEL)


def test_points_lie_where_their_values_say():
    lines = ET.fromstring(draw_svg(PANEL, width=480, height=220)).findall(f"{SVG}polyline")
    assert [line.get("points") for line in lines] == [
        "56.0,113.0 468.0,113.0",  # the baseline, half way
        "56.0,196.0 468.0,30.0",
        "56.0,30.0 468.0,196.0",
    ]


def test_a_panel_without_a_baseline_has_no_dashed_line():
    assert "dash" not in draw_svg(Panel("p", [Series("a", [(0, 0.0), (1, 1.0)])]))


@pytest.mark.parametrize(
    ("x_label", "baseline", "below"),
    [
        ("", None, None),
        ("nats <per> token", None, "nats <per> token"),
        ("", ("half", 0.5), "dashed: half"),
        ("step", ("half & half", 0.5), "step · dashed: half & half"),
    ],
)
def test_below_the_picture_stands_what_the_axis_counts_and_what_the_dashes_mean(x_label, baseline, below):
    root = ET.fromstring(draw_svg(Panel("p", [Series("a", [(0, 0.0), (1, 1.0)])], baseline, x_label)))
    (text,) = [text for text in root.findall(f"{SVG}text") if text.get("text-anchor") == "middle"]
    assert (text.text, text.get("y")) == (below, "212")


def test_six_curves_are_told_apart_by_colour_and_named_in_it():
    panel = Panel("p", [Series(f"curve {at}", [(0, float(at)), (1, 1.0)]) for at in range(6)])
    root = ET.fromstring(draw_svg(panel, width=900))
    assert [line.get("stroke") for line in root.findall(f"{SVG}polyline")] == list(COLOURS)
    named = {text.text: text.get("fill") for text in root.findall(f"{SVG}text") if text.get("fill")}
    assert named == {f"curve {at}": colour for at, colour in enumerate(COLOURS)}
    assert len(set(COLOURS)) == 6


def test_points_that_are_not_finite_are_left_out():
    root = ET.fromstring(draw_svg(Panel("p", [Series("a", [(0, 0.0), (5, float("nan")), (10, 1.0)])])))
    assert root.find(f"{SVG}polyline").get("points") == "56.0,196.0 468.0,30.0"
