from xml.etree import ElementTree as ET

from preftune.charts import Panel, Series, draw_svg

PANEL = Panel(
    "a <b> & c", [Series("chosen", [(0, 0.0), (10, 1.0)]), Series("rejected", [(0, 1.0), (10, 0.0)])], ("half", 0.5)
)


def test_the_picture_is_well_formed_and_escaped():
    root = ET.fromstring(draw_svg(PANEL))
    assert root.find("{http://www.w3.org/2000/svg}title").text == "a <b> & c"
    assert "script" not in draw_svg(PANEL)


def test_points_lie_where_their_values_say():
    lines = ET.fromstring(draw_svg(PANEL, width=480, height=220)).findall("{http://www.w3.org/2000/svg}polyline")
    assert [line.get("points") for line in lines] == [
        "56.0,113.0 468.0,113.0",  # the baseline, half way
        "56.0,196.0 468.0,30.0",
        "56.0,30.0 468.0,196.0",
    ]


def test_a_panel_without_a_baseline_has_no_dashed_line():
    assert "dash" not in draw_svg(Panel("p", [Series("a", [(0, 0.0), (1, 1.0)])]))
