import pytest

from preftune import DPO, SFT, JobConfig, LoRA
from preftune.api.models import Checkpoint, FineTuneJob, MetricRow
from preftune.runs import Run


def run(rows=(), checkpoints=(), **fields):
    given = {"id": "ft-1", "status": "completed", "training_method": {"method": "dpo", "dpo_beta": 0.2}} | fields
    return Run(FineTuneJob(**given), rows, [Checkpoint(step=step) for step in checkpoints])


def evals(*told):
    return [MetricRow("eval", step=step, loss=loss, accuracy=accuracy) for step, loss, accuracy in told]


ROWS = evals((10, 0.6, 0.7), (20, 0.5, 0.6), (30, 0.55, 0.7))


def test_what_was_asked_for_is_flat_text_without_what_is_empty():
    asked = run(model="m", validation_file="", learning_rate=1e-5, training_type={"type": "Lora", "lora_r": 8}).asked
    assert asked == {
        "model": "m",
        "training_method.method": "dpo",
        "training_method.dpo_beta": "0.2",
        "training_type.type": "Lora",
        "training_type.lora_r": "8",
        "learning_rate": "1e-05",
    }


def test_the_configuration_is_read_from_what_the_server_echoes():
    given = run(model="m", training_type={"type": "Lora", "lora_r": 8}, n_epochs=3, suffix="", unknown=5)
    assert given.config == JobConfig(
        model="m", training_method=DPO(dpo_beta=0.2), training_type=LoRA(lora_r=8), n_epochs=3
    )


def test_the_model_of_a_job_that_went_on_from_another_is_that_ones():
    config = run(model="m", from_checkpoint="ft-0").config
    assert (config.model, config.from_checkpoint) == (None, "ft-0")


def test_fields_of_another_server_are_no_configuration():
    assert run(model="m", n_epochs=10_000).config is None


@pytest.mark.parametrize(("by_accuracy", "step"), [(False, 20), (True, 30)])
def test_the_best_evaluation_has_the_lowest_loss_or_the_highest_accuracy(by_accuracy, step):
    assert run(ROWS).best(by_accuracy=by_accuracy).step == step


def test_rows_without_a_loss_step_or_number_are_no_evaluations():
    odd = [MetricRow("eval", step=1), MetricRow("eval", loss=0.1), MetricRow("eval", step=2, loss=float("nan"))]
    assert run([*odd, MetricRow("train", step=3, loss=0.1)]).best(by_accuracy=False) is None


@pytest.mark.parametrize(
    ("checkpoints", "status", "found"),
    [
        ((), "completed", ("", None)),
        ((20, 30), "completed", ("ft-1:20", 20)),
        ((10, 30), "completed", ("ft-1:10", 10)),
        ((30,), "completed", ("ft-1", 30)),
        ((30,), "running", ("ft-1:30", 30)),
    ],
)
def test_the_checkpoint_of_an_evaluation_is_the_nearest_one(checkpoints, status, found):
    best = run(ROWS, checkpoints, status=status).best(by_accuracy=False)
    assert (best.checkpoint, best.checkpoint_step) == found


def test_tokens_are_counted_by_the_server():
    assert run(token_count=600, total_steps=30).tokens_per_step == 20
    assert run(total_steps=30).tokens_per_step is None
    assert run(token_count=600).tokens_per_step is None


def test_the_verdict_is_that_of_diagnose_and_nothing_before_there_is_a_loss():
    assert run(ROWS).verdict == "healthy"
    assert run(ROWS[:1], status="running", total_steps=100).verdict == "too-early"
    assert run([MetricRow("train", step=1)]).verdict == ""


def test_the_method_is_that_of_the_job():
    assert run().method == DPO(dpo_beta=0.2)
    assert run(training_method={"method": "sft"}).method == SFT()
