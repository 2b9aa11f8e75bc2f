import math

from preftune import DPO
from preftune.api.models import MetricRow
from preftune.charts import Panel, Series
from preftune.runs import panels

ROWS = [
    MetricRow("train", step=1, loss=0.69, accuracy=0.0, kl_chosen=0.0, kl_rejected=0.0),
    MetricRow("train", step=2, loss=0.6),
    MetricRow(
        "eval", step=2, loss=0.65, accuracy=0.7, kl_chosen=1.0, kl_rejected=2.0, logps_chosen=-9, logps_rejected=-8
    ),
]


def test_chosen_and_rejected_stand_in_one_panel_with_their_evaluations():
    assert panels(ROWS)[2:] == [
        Panel(
            "KL from the reference (approx.)",
            [
                Series("chosen", [(1, 0.0)], "line", "chosen"), Series("rejected", [(1, 0.0)], "line", "rejected"),
                Series("evaluation", [(2, 1.0)], "points", "chosen"),
                Series("evaluation", [(2, 2.0)], "points", "rejected"),
            ],
            x_label="step",
        ),
        Panel(
            "log-probability of the answers",
            [Series("evaluation", [(2, y)], "points", side) for side, y in (("chosen", -9), ("rejected", -8))],
            x_label="step",
        ),
    ]  # fmt: skip


def test_loss_and_accuracy_are_held_against_what_no_learning_gives():
    loss, accuracy = panels(ROWS, method=DPO(simpo_gamma=1.0))[:2]
    assert loss == Panel(
        "loss",
        [
            Series("train", [(1, 0.69), (2, 0.6)], "line", "train"),
            Series("evaluation", [(2, 0.65)], "points", "evaluation"),
        ],
        ("nothing learned", DPO(simpo_gamma=1.0).baseline),
        "step",
    )
    assert accuracy.baseline == ("chance", 0.5)


def test_a_long_curve_is_the_mean_of_twenty_rows_with_each_step_behind_it():
    rows = [MetricRow("train", step=step, loss=float(step % 2), accuracy=0.5) for step in range(1, 41)]
    faint, line = panels(rows)[0].series
    assert (faint.style, faint.finite) == ("faint", [(float(step), float(step % 2)) for step in range(1, 41)])
    assert (line.name, line.style, line.side) == ("train", "line", faint.side)
    assert line.finite[:2] + line.finite[-1:] == [(1.0, 1.0), (2.0, 0.5), (40.0, 0.5)]


def test_a_value_that_is_not_finite_has_no_part_in_the_means():
    rows = [MetricRow("train", step=step, loss=math.inf if step == 3 else 1.0) for step in range(1, 30)]
    assert {y for _, y in panels(rows)[0].series[1].points} == {1.0}


def test_the_best_evaluation_is_marked_where_there_is_a_choice():
    losses = [0.6, 0.5, math.nan, 0.55]
    rows = [MetricRow("eval", step=10 * at, loss=loss) for at, loss in enumerate(losses)]
    assert panels(rows)[0].best == ("best 0.500 (step 10)", 10.0, 0.5)
    assert panels(rows[:1])[0].best is None


def test_every_known_value_has_its_panel_in_the_order_of_looking():
    row = MetricRow(
        "train", step=1, loss=0.6, accuracy=0.5, rewards_chosen=0.1, rewards_rejected=0.0, margin=0.1, kl_chosen=1.0,
        kl_rejected=1.0, logps_chosen=-9.0, logps_rejected=-9.0, learning_rate=1e-5, grad_norm=1.0,
    )  # fmt: skip
    assert [panel.title for panel in panels([row])] == [
        "loss", "reward accuracy", "rewards and their margin", "KL from the reference (approx.)",
        "log-probability of the answers", "learning rate", "gradient norm",
    ]  # fmt: skip


def test_the_loss_of_a_supervised_run_is_held_against_nothing():
    assert panels([MetricRow("train", step=1, loss=2.5)])[0].baseline is None


def test_a_panel_that_no_row_fills_is_left_out():
    assert [panel.title for panel in panels([MetricRow("train", step=1, loss=0.69)])] == ["loss"]


def test_a_loss_with_an_nll_term_has_no_line_to_be_held_against():
    assert panels(ROWS, method=DPO(rpo_alpha=0.5))[0].baseline is None
