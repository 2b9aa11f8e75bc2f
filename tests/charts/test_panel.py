import math

import pytest

from preftune.charts import Panel, Series
from preftune.charts.panel import ticks


def test_bounds_cover_every_finite_point_and_the_baseline():
    panel = Panel("p", [Series("a", [(1, 2.0), (3, math.nan)]), Series("b", [(2, 5.0)])], ("line", -1.0))
    assert panel.bounds == (1, 2, -1.0, 5.0)


def test_a_single_point_has_room_around_it():
    assert Panel("p", [Series("a", [(1, 2.0)])]).bounds == (0.5, 1.5, 1.0, 3.0)
    assert Panel("p", [Series("a", [(0, 0.0)])]).bounds == (-0.5, 0.5, -0.5, 0.5)


def test_nothing_to_draw_is_said_plainly():
    with pytest.raises(ValueError, match="expected at least one finite point, found none"):
        _ = Panel("p", [Series("a", [(1, math.inf)])]).bounds


def test_what_the_x_axis_counts_has_no_say_in_the_bounds():
    series = [Series("a", [(1, 2.0), (3, 4.0)])]
    assert Panel("p", series, x_label="step").bounds == Panel("p", series).bounds == (1, 3, 2.0, 4.0)


def test_a_baseline_alone_is_nothing_to_draw():
    with pytest.raises(ValueError, match=r"^panel 'p': expected at least one finite point, found none; "):
        _ = Panel("p", [], ("line", 1.0)).bounds


def test_a_long_curve_keeps_the_first_the_last_and_the_extremes_of_each_column():
    points = [(float(step), 0.0) for step in range(10_000)]
    points[1_234], points[8_765] = (1_234.0, 9.0), (8_765.0, -9.0)
    thinned = Series("a", points).thinned(0.0, 9_999.0, 50)
    assert len(thinned) <= 4 * 50
    assert {points[0], points[1_234], points[8_765], points[-1]} <= set(thinned)
    assert thinned == sorted(thinned)


def test_a_short_curve_is_drawn_as_it_is():
    points = [(0.0, 1.0), (1.0, 2.0)]
    assert Series("a", points).thinned(0.0, 1.0, 1) == points


def test_a_long_curve_with_gaps_is_thinned_around_them():
    points = [(float(step), 1.0) for step in range(100)] + [(10_000.0 + step, 2.0) for step in range(100)]
    assert {x > 5_000 for x, _ in Series("a", points).thinned(0.0, 10_099.0, 20)} == {False, True}


def test_series_of_one_side_share_a_key_and_others_have_their_own():
    panel = Panel("p", [Series("a", [], side="s"), Series("b", [], "points", "s"), Series("c", [])])
    assert panel.keys == ["s", "c"]


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0.0, 1.0, 5, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-3.0, 7.0, 4, [-2.5, 0.0, 2.5, 5.0]),
        (1.0, 240.0, 3, [100.0, 200.0]),
    ],
)
def test_ticks_are_round_values_between_the_bounds(low, high, most, expected):
    assert ticks(low, high, most) == pytest.approx(expected)
