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
