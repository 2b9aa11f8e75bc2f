import json
import re
from xml.etree import ElementTree as ET

import pytest

from preftune import errors
from preftune.api.models import Checkpoint, FineTuneJob, MetricRow
from preftune.runs import Run, compare
from preftune.runs.page import comparison_page

DPO = {"method": "dpo", "dpo_beta": 0.1}


def run(number, loss=0.5, accuracy=0.7, **fields):
    given = {
        "id": f"ft-{number}", "status": "completed", "training_method": DPO, "validation_file": "file-v",
        "total_steps": 20, "token_count": 2000,
    } | fields  # fmt: skip
    sides = {"kl_chosen": 1.0, "kl_rejected": 2.0, "logps_chosen": -9.0, "logps_rejected": -8.0}
    rows = [MetricRow("train", step=step, loss=0.69 - step / 100) for step in range(1, 21)]
    rows += [MetricRow("eval", step=step, loss=loss + 1 / step, accuracy=accuracy, **sides) for step in (10, 20)]
    return Run(FineTuneJob(**given), rows, [Checkpoint(step=20)])


def cells(found, name):
    """Return what stands for each run in the line of that name."""
    line = next(line for line in str(found).splitlines() if line.strip().startswith(name))
    return re.split("  +", line.strip())[1:]


def test_the_fields_in_which_they_differ_come_first():
    found = compare([run(1), run(2, learning_rate=1e-4, random_seed=7)])
    assert found.differences == {"learning_rate": ("-", "0.0001"), "random_seed": ("-", "7")}
    assert str(found).startswith(
        "In what they differ\n"
        "               ft-1  ft-2\n"
        "learning_rate  -     0.0001\n"
        "random_seed    -     7\n"
        "\n"
        "How they went\n"
        "                 ft-1             ft-2\n"
        "status           completed        completed\n"
    )


def test_runs_of_one_loss_are_ranked_by_it():
    found = compare([run(1, loss=0.5, accuracy=0.9), run(2, loss=0.4, learning_rate=1e-4)])
    assert (found.ranked_by, found.best) == ("loss", 1)
    assert found.conclusion == "Best: ft-2 at step 20, by evaluation loss 0.45; take ft-2."


@pytest.mark.parametrize("knob", [{"dpo_beta": 0.5}, {"rpo_alpha": 0.1}, {"simpo_gamma": 1.0}])
def test_runs_of_other_knobs_are_ranked_by_accuracy(knob):
    found = compare([run(1, accuracy=0.9), run(2, loss=0.1, training_method=DPO | knob)])
    assert (found.ranked_by, found.best) == ("accuracy", 0)
    assert found.conclusion == (
        "Best: ft-1 at step 20, by reward accuracy 90.0% (their losses differ in kind, so those do not rank them); "
        "take ft-1."
    )


@pytest.mark.parametrize(
    "fields",
    [{"validation_file": "other"}, {"training_method": {"method": "sft"}}, {"training_method": {"method": "x"}}],
)
def test_runs_on_other_rows_or_of_other_methods_are_not_ranked(fields):
    found = compare([run(1), run(2, **fields)])
    assert (found.ranked_by, found.best) == ("nothing", None)
    assert "cannot be ranked: they differ" in found.conclusion


def test_supervised_runs_are_ranked_by_their_loss():
    sft = [{"training_method": {"method": "sft", "train_on_inputs": told}} for told in (True, False)]
    assert compare([run(1, **sft[0]), run(2, loss=0.1, **sft[1])]).best == 1


def test_runs_without_evaluations_are_not_ranked_and_say_what_to_do():
    bare = [Run(one.job, [row for row in one.rows if row.split == "train"]) for one in (run(1), run(2))]
    found = compare(bare)
    assert found.conclusion == "The runs cannot be ranked: fewer than two of them have evaluations; set n_evals."
    assert [panel.title for panel in found.panels] == ["training loss (mean of 20 steps)"]
    assert cells(found, "best evaluation") == ["-", "-"]


def test_a_checkpoint_that_was_not_kept_is_told():
    early = run(1, loss=0.1)
    early = Run(early.job, [*early.rows, MetricRow("eval", step=5, loss=0.01)], early.checkpoints)
    assert compare([early, run(2)]).conclusion.endswith("; the nearest kept checkpoint is ft-1 (step 20).")
    none = Run(early.job, early.rows)
    found = compare([none, run(2)])
    assert found.conclusion.endswith("; no checkpoint was kept.")
    assert cells(found, "checkpoint") == ["none kept", "step 20 (final)"]


def test_chosen_and_rejected_of_a_run_share_a_colour():
    panel = next(panel for panel in compare([run(1), run(2)]).panels if panel.title.startswith("KL"))
    assert [(series.name, series.style, series.side) for series in panel.series] == [
        ("ft-1", "line", "ft-1"),
        ("ft-1 rejected", "dashed", "ft-1"),
        ("ft-2", "line", "ft-2"),
        ("ft-2 rejected", "dashed", "ft-2"),
    ]
    assert panel.keys == ["ft-1", "ft-2"]


def test_sides_come_from_training_rows_where_there_are_no_evaluations():
    rows = [MetricRow("train", step=step, kl_chosen=float(step), kl_rejected=1.0) for step in (1, 2)]
    panel = compare([Run(run(1).job, rows), run(2)]).panels[3]
    assert panel.series[0].points == [(1.0, 1.0), (2.0, 1.5)]


def test_curves_go_over_tokens_where_the_server_counts_them():
    panel = compare([run(1), run(2, token_count=4000)], by="tokens").panels[0]
    assert [series.points[-1][0] for series in panel.series] == [2000, 4000]
    assert panel.x_label == "tokens"
    with pytest.raises(errors.ConfigError, match="expected a count of tokens, found none for ft-3; compare by step"):
        compare([run(1), run(3, token_count=None)], by="tokens")


@pytest.mark.parametrize("given", [[], [run(1)], [run(1), run(1)]])
def test_fewer_than_two_different_runs_are_refused(given):
    with pytest.raises(errors.ConfigError, match="expected at least two different jobs"):
        compare(given)


def test_names_are_suffixes_or_short_ids_and_tell_the_runs_apart():
    long = "0c99d3ea-e2f1-4c0a-9a57"
    assert compare([run(1, suffix="low"), run(long)]).names == ("low", "ft-0c99d3ea")
    assert compare([run(1, suffix="a"), run(2, suffix="a")]).names == ("ft-1", "ft-2")


def test_no_difference_is_said():
    assert "nothing" in str(compare([run(1), run(2)])).splitlines()[2]


def test_a_narrow_terminal_has_each_value_on_a_line_of_its_own():
    text = compare([run(1), run(2, model="a/model-of-a-name-that-is-very-long")]).to_text(width=40)
    assert "model\n    ft-1: -\n    ft-2: a/model-of-a-name-that-is-very-long\n" in text


def test_it_is_plain_values_too():
    told = json.loads(compare([run(1), run(2, loss=0.4)]).to_json())
    assert (told["best"], told["ranked_by"], told["differences"]) == ("ft-2", "loss", {})
    assert told["runs"][0] == {
        "job": "ft-1", "name": "ft-1", "status": "completed", "verdict": "healthy",
        "best": {"step": 20, "loss": 0.55, "accuracy": 0.7, "checkpoint": "ft-1", "checkpoint_step": 20},
    }  # fmt: skip


def test_the_page_holds_differences_conclusion_and_pictures_and_no_markup_of_names():
    page = comparison_page(compare([run(1, suffix="<b>"), run(2)]))
    assert page.count("<svg") == 5
    assert "The evaluation cannot tell" in page
    assert "<script" not in page
    assert "<b>" not in page.replace("<p><b>", "")


def test_accuracy_that_was_not_told_is_left_open():
    assert cells(compare([run(1, accuracy=None), run(2, accuracy=None)]), "accuracy") == ["-", "-"]


def test_runs_that_did_equally_well_are_not_ranked():
    knobs = [{"training_method": DPO | {"dpo_beta": beta}} for beta in (0.1, 0.2, 0.3)]
    found = compare([run(1, **knobs[0]), run(2, **knobs[1]), run(3, accuracy=0.6, **knobs[2])])
    assert (found.best, found.leaders) == (None, (0, 1))
    assert found.conclusion == (
        "The evaluation cannot tell ft-1 and ft-2 apart: the same reward accuracy 70.0%; "
        "more pairs to evaluate on would."
    )


def test_a_notebook_shows_one_picture_with_everything_in_it():
    picture = compare([run(1), run(2, loss=0.4, learning_rate=1e-4)])._repr_svg_()
    root = ET.fromstring(picture)
    lines = [element.text for element in root if element.tag.endswith("text")]
    assert lines[0] == "learning_rate — ft-1: - · ft-2: 0.0001"
    assert lines[-1].startswith("Best: ft-2 at step 20")
    assert picture.count("<svg") == 6
