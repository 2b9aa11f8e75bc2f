import re

import pytest

from preftune.charts import Panel, Series, draw_text, visible

PANEL = Panel(
    "loss",
    [
        Series("each step", [(1, 3.0), (2, 1.0), (3, 1.0)], "faint", "train"),
        Series("train", [(1, 3.0), (2, 2.0), (3, 1.5)], "line", "train"),
        Series("evaluation", [(2, 2.5), (3, 1.0)], "points", "evaluation"),
    ],
    ("base", 2.0),
    "step",
    ("best 1.000 (step 3)", 3, 1.0),
)
ESCAPE = re.compile("\x1b\\[[0-9;]*m")


def test_a_panel_is_drawn_without_colour():
    assert draw_text(PANEL, width=30, height=5).splitlines() == [
        "loss   . each step   o train",
        "  x evaluation   · base",
        "  * best 1.000 (step 3)",
        "       3 |o",
        "         |          x",
        "         |··········o·········",
        "         |                   o",
        "       1 |          .        *",
        "          1       step       3",
    ]


def test_a_panel_with_colour_is_drawn_in_dots_and_marks():
    lines = draw_text(PANEL, width=30, height=5, colour=True).splitlines()
    assert [ESCAPE.sub("", line) for line in lines] == [
        "loss   ⠂ each step   ━ train",
        "  ● evaluation   ┈ base",
        "  ★ best 1.000 (step 3)",
        "       3 |⠉⠒⠤⣀",
        "         |    ⠉⠑⠢⢄⡀ ●",
        "         |┈┈┈┈┈┈┈┈⠈⠑⠒⠤⠤⣀⣀┈┈┈┈┈",
        "         |               ⠉⠉⠒⠒⠤",
        "       1 |          ⡀        ★",
        "          1       step       3",
    ]


def test_every_coloured_line_ends_without_colour():
    for line in draw_text(PANEL, colour=True).splitlines():
        assert ESCAPE.findall(line)[-1:] in ([], ["\x1b[0m"])


def test_curves_keep_their_colour_and_single_steps_are_dim():
    hues = set(re.findall("\x1b\\[([0-9;]+)m", draw_text(PANEL, colour=True)))
    assert hues == {"0", "2", "38;5;33", "2;38;5;33", "38;5;208"}


def test_evaluations_of_a_line_have_its_letter_in_capitals():
    series = [Series("chosen", [(0, 0.0), (9, 0.0)], side="c"), Series("rejected", [(0, 1.0), (9, 1.0)], side="r")]
    evaluated = [Series("evaluation", [(9, 0.0)], "points", "c"), Series("evaluation", [(9, 1.0)], "points", "r")]
    assert draw_text(Panel("KL", series + evaluated), width=60, height=2).splitlines()[:3] == [
        "KL   o chosen   x rejected   O X evaluation",
        f"       1 |x{' ' * 48}X",
        f"       0 |o{' ' * 48}O",
    ]


def test_a_place_where_two_lines_meet_has_a_sign_of_its_own():
    crossing = [Series("a", [(0, 0.0), (1, 1.0), (2, 2.0)]), Series("b", [(0, 2.0), (1, 1.0), (2, 0.0)])]
    assert draw_text(Panel("p", crossing), width=13, height=3).splitlines()[1:4] == [
        "       2 |x o", "         | #", "       0 |o x",
    ]  # fmt: skip


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("colour", [False, True])
def test_no_line_is_wider_than_asked(width, colour):
    series = [Series("each step", [(step, step / 7) for step in range(1000)], "faint", "a")]
    many = [Series(f"a rather long name {at}", [(0, 1.0), (999, 2.0)]) for at in range(6)]
    lines = draw_text(
        Panel("p", series + many, ("half", 0.5), "step"), width=width, height=12, colour=colour
    ).splitlines()
    assert max(len(ESCAPE.sub("", line)) for line in lines) <= width
    assert [len(ESCAPE.sub("", line)) for line in lines][-1] == width


def test_a_label_longer_than_the_axis_is_written_whole():
    panel = Panel("p", [Series("a", [(0, 0.0), (10, 1.0)])], x_label="a long name")
    assert draw_text(panel, width=16, height=2).splitlines()[-1] == "          0a long name10"


def test_six_curves_have_marks_of_their_own():
    panel = Panel("p", [Series(f"curve {at}", [(0, float(at)), (1, float(at))]) for at in range(6)])
    lines = draw_text(panel, width=90, height=6).splitlines()
    assert lines[0] == "p   o curve 0   x curve 1   s curve 2   + curve 3   = curve 4   % curve 5"
    assert [line[10] for line in lines[1:7]] == ["%", "=", "+", "s", "x", "o"]


def test_single_steps_of_both_sides_are_named_once_and_a_panel_needs_no_baseline():
    series = [Series("each step", [(0, float(at)), (1, 1.0)], "faint", side) for at, side in enumerate("ab")]
    for colour, sign in ((False, "."), (True, "⠂")):
        assert draw_text(Panel("p", series), colour=colour).splitlines()[0] == f"p   {sign} each step"


def test_the_second_of_two_curves_has_the_capital_or_is_dashed():
    panel = Panel("p", [Series("a", [(0, 0), (9, 0)], "line", "a"), Series("b", [(0, 1), (9, 1)], "dashed", "a")])
    letters = draw_text(panel, width=40, height=4).splitlines()
    assert letters[0] == "p   o a   O b"
    assert letters[1].endswith("O")
    drawn = visible(draw_text(panel, width=40, height=4, colour=True)).splitlines()
    assert drawn[0] == "p   ━ a   ╍ b"
    through, dashed = (sum(char not in " |" for char in line[10:]) for line in (drawn[4], drawn[1]))
    assert dashed == through / 2
