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


def test_chosen_and_rejected_stand_in_one_panel_from_evaluation_rows():
    assert panels(ROWS)[2:] == [
        Panel("KL from the reference (approx.)", [Series("chosen", [(2, 1.0)]), Series("rejected", [(2, 2.0)])]),
        Panel("log-probability of the answers", [Series("chosen", [(2, -9)]), Series("rejected", [(2, -8)])]),
    ]


def test_loss_and_accuracy_are_held_against_what_no_learning_gives():
    loss, accuracy = panels(ROWS, method=DPO(simpo_gamma=1.0))[:2]
    assert loss == Panel(
        "loss",
        [Series("train", [(1, 0.69), (2, 0.6)]), Series("eval", [(2, 0.65)])],
        ("nothing learned", DPO(simpo_gamma=1.0).baseline),
    )
    assert accuracy.baseline == ("chance", 0.5)


def test_a_panel_that_no_row_fills_is_left_out():
    assert [panel.title for panel in panels([MetricRow("train", step=1, loss=0.69)])] == ["loss"]


def test_a_loss_with_an_nll_term_has_no_line_to_be_held_against():
    assert panels(ROWS, method=DPO(rpo_alpha=0.5))[0].baseline is None
