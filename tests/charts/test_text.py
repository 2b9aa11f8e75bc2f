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
