from xml.etree import ElementTree as ET

import pytest

from preftune.charts import Panel, Series, draw_sheet, draw_svg
from preftune.charts.svg import COLOURS

SVG = "{http://www.w3.org/2000/svg}"

PANEL = Panel(
    "a <b> & c", [Series("chosen", [(0, 0.0), (10, 1.0)]), Series("rejected", [(0, 1.0), (10, 0.0)])], ("half", 0.5)
)


def test_the_picture_is_well_formed_and_escaped():
    root = ET.fromstring(draw_svg(PANEL))
    assert root.find(f"{SVG}title").text == "a <b> & c"
    assert "script" not in draw_svg(PANEL)


def curves(root):
    """Return colour and path of what is drawn as a curve."""
    paths = [path for path in root.findall(f"{SVG}path") if path.get("stroke") != "#808080"]
    return [(path.get("stroke"), path.get("d")) for path in paths]


def test_points_lie_where_their_values_say():
    root = ET.fromstring(draw_svg(PANEL, width=480, height=220))
    assert curves(root) == [(COLOURS[0], "M56.0 182.0L468.0 30.0"), (COLOURS[1], "M56.0 30.0L468.0 182.0")]
    (baseline,) = [path.get("d") for path in root.findall(f"{SVG}path") if path.get("stroke-dasharray")]
    assert baseline == "M56.0 106.0L468.0 106.0"  # half way


def test_single_steps_lie_behind_their_line_and_evaluations_on_it():
    series = [
        Series("each step", [(0, 0.0), (1, 2.0)], "faint", "a"), Series("a", [(0, 1.0), (1, 1.5)], "line", "a"),
        Series("evaluation", [(1, 1.0)], "points", "a"), Series("b", [(0, 0.0)], "line", "b"),
        Series("evaluation", [(1, 2.0)], "points", "b"),
    ]  # fmt: skip
    root = ET.fromstring(draw_svg(Panel("p", series, best=("best 1.000 (step 1)", 1, 1.0))))
    strokes = [(path.get("stroke"), path.get("stroke-opacity")) for path in root.findall(f"{SVG}path")[-5:]]
    assert strokes == [(COLOURS[0], "0.35"), *[(COLOURS[at], None) for at in (0, 1, 0, 1)]]
    circles = [(circle.get("fill"), circle.get("r")) for circle in root.findall(f"{SVG}circle")]
    assert circles == [(COLOURS[1], "3"), (COLOURS[0], "3"), (COLOURS[1], "3"), ("none", "6")]
    texts = {text.text: text.get("fill") for text in root.findall(f"{SVG}text")}
    assert (texts["a"], texts["b"], texts["● evaluation"]) == (COLOURS[0], COLOURS[1], "#808080")
    assert "faint: each step · ring: best 1.000 (step 1)" in texts


def test_the_axes_have_round_values_without_the_noise_of_their_arithmetic():
    root = ET.fromstring(draw_svg(Panel("p", [Series("a", [(0, -0.3), (12_000, 0.3)])])))
    texts = [text.text for text in root.findall(f"{SVG}text")]
    assert [text for text in texts if text and text.strip("-").replace(".", "").isdigit()] == [
        "-0.2", "0", "0.2", "0", "2500", "5000", "7500", "10000",
    ]  # fmt: skip


def test_a_picture_of_a_long_run_is_small():
    series = [Series("each step", [(float(x), x % 7.0) for x in range(50_000)], "faint", "a")]
    assert len(draw_svg(Panel("p", series))) < 40_000


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
    (text,) = [text for text in root.findall(f"{SVG}text") if text.get("y") == "214"]
    assert text.text == below


def test_six_curves_are_told_apart_by_colour_and_named_in_it():
    panel = Panel("p", [Series(f"curve {at}", [(0, float(at)), (1, 1.0)]) for at in range(6)])
    root = ET.fromstring(draw_svg(panel, width=900))
    assert [colour for colour, _ in curves(root)] == list(COLOURS)
    named = {text.text: text.get("fill") for text in root.findall(f"{SVG}text") if text.get("fill")}
    assert named == {f"curve {at}": colour for at, colour in enumerate(COLOURS)}
    assert len(set(COLOURS)) == 6


def test_points_that_are_not_finite_are_left_out():
    root = ET.fromstring(draw_svg(Panel("p", [Series("a", [(0, 0.0), (5, float("nan")), (10, 1.0)])])))
    assert curves(root) == [(COLOURS[0], "M56.0 182.0L468.0 30.0")]


def test_the_second_of_two_curves_is_dashed():
    panel = Panel("p", [Series("a", [(0, 0), (1, 1)], "line", "a"), Series("b", [(0, 1), (1, 0)], "dashed", "a")])
    lines = [line for line in draw_svg(panel).split("<path") if 'stroke-width="2"' in line]
    assert ["stroke-dasharray" in line for line in lines] == [False, True]


def test_a_sheet_is_one_picture_with_lines_of_text_around_its_panels():
    panel = Panel("p", [Series("a", [(0, 0), (1, 1)])])
    sheet = draw_sheet([panel, panel, panel], ["a <state>", "w " * 100], ["the end"])
    root = ET.fromstring(sheet)
    inner = [element for element in root if element.tag.endswith("svg")]
    assert [(one.get("x"), one.get("y")) for one in inner] == [("0", "62"), ("480", "62"), ("0", "282")]
    assert [element.text for element in root if element.tag.endswith("text")][0::3] == ["a <state>", "the end"]
    assert int(root.get("height")) > 282 + 220


def test_a_sheet_of_a_job_that_has_just_begun_has_no_panels():
    assert ET.fromstring(draw_sheet([], ["queued"], [])).get("height") == "34"
