from preftune.charts import Panel, Series, draw_text


def test_a_panel_is_drawn_without_colour():
    panel = Panel(
        "loss", [Series("train", [(1, 3.0), (2, 2.0), (3, 1.0)]), Series("eval", [(2, 3.0), (3, 1.0)])], ("base", 2.0)
    )
    assert draw_text(panel, width=16, height=3).splitlines() == [
        "loss   o train   x eval   · base",
        "      3 |o  x",
        "        |···o···",
        "      1 |      #",
        "         1     3",
    ]


def test_no_line_is_wider_than_asked():
    panel = Panel("p", [Series("a", [(step, step / 7) for step in range(1000)])])
    lines = draw_text(panel, width=80, height=12).splitlines()
    assert len(lines) == 14
    assert max(map(len, lines)) == 80


def test_what_the_x_axis_counts_stands_between_its_ends():
    panel = Panel("p", [Series("a", [(0, 0.0), (10, 1.0)])], x_label="step")
    assert draw_text(panel, width=20, height=2).splitlines() == [
        "p   o a",
        "      1 |          o",
        "      0 |o",
        "         0  step  10",
    ]


def test_a_label_longer_than_the_axis_is_written_whole():
    panel = Panel("p", [Series("a", [(0, 0.0), (10, 1.0)])], x_label="a long name")
    assert draw_text(panel, width=16, height=2).splitlines()[-1] == "         0a long name10"


def test_six_curves_have_marks_of_their_own():
    panel = Panel("p", [Series(f"curve {at}", [(0, float(at)), (1, float(at))]) for at in range(6)])
    lines = draw_text(panel, width=20, height=6).splitlines()
    assert lines[0] == "p   o curve 0   x curve 1   + curve 2   * curve 3   @ curve 4   % curve 5"
    assert [line[9] for line in lines[1:7]] == ["%", "@", "*", "+", "x", "o"]
