import math

import pytest

from preftune.charts import Panel, Series


def test_bounds_cover_every_finite_point_and_the_baseline():
    panel = Panel("p", [Series("a", [(1, 2.0), (3, math.nan)]), Series("b", [(2, 5.0)])], ("line", -1.0))
    assert panel.bounds == (1, 2, -1.0, 5.0)


def test_a_single_point_has_room_around_it():
    assert Panel("p", [Series("a", [(1, 2.0)])]).bounds == (0.5, 1.5, 1.5, 2.5)


def test_nothing_to_draw_is_said_plainly():
    with pytest.raises(ValueError, match="expected at least one finite point, found none"):
        _ = Panel("p", [Series("a", [(1, math.inf)])]).bounds


def test_what_the_x_axis_counts_has_no_say_in_the_bounds():
    series = [Series("a", [(1, 2.0), (3, 4.0)])]
    assert Panel("p", series, x_label="step").bounds == Panel("p", series).bounds == (1, 3, 2.0, 4.0)


def test_a_baseline_alone_is_nothing_to_draw():
    with pytest.raises(ValueError, match=r"^panel 'p': expected at least one finite point, found none; "):
        _ = Panel("p", [], ("line", 1.0)).bounds
