import json
import math
from pathlib import Path

import pytest

from preftune import DPO, JobConfig, diagnose, runs
from preftune.api.config import SFT
from preftune.api.models import FineTuneJob

CURVES = Path(__file__).parents[3] / "shared" / "curves"
EXPECTED = {  # what each recorded run is named for
    "healthy": "healthy",
    "identical_pairs": "no-signal",
    "half_identical": "ties",
    "lr_too_small": "too-small-steps",
    "lr_too_large": "drift",
    "near_duplicates": "displacement",
    "norm_beta01": "beta-scale",
    "overfit_small_set": "over-optimised",
    "simpo_b25_g1375": "healthy",
}


def run(*, steps=40, **changes):
    """Return a healthy run of wire rows; each change maps a key to a function of the step, or to a value."""
    rows = []
    for step in range(1, steps + 1):
        row = {
            "train/global_step": step,
            "train/loss": 0.69 - 0.004 * step,
            "train/grad_norm": 1.0,
            "train/reward/accuracy": 0.7,
        }
        rows.append(row | values("train", step, changes))
        if step % 10 == 0:
            evaluation = {
                "train/global_step": step,
                "eval/loss": 0.68 - 0.003 * step,
                "eval/reward/accuracy": 0.7,
                "eval/approx. KL/chosen": 1.0 * step,
                "eval/approx. KL/rejected": 2.0 * step,
                "eval/logps/chosen": -100 - 0.05 * step,
                "eval/logps/rejected": -100 - 0.3 * step,
            }
            rows.append(evaluation | values("eval", step, changes))
    return rows


def values(split, step, changes):
    return {
        key: value(step) if callable(value) else value for key, value in changes.items() if key.startswith(f"{split}/")
    }


def test_a_run_without_a_fault_is_healthy():
    diagnosis = diagnose(run())
    assert diagnosis.verdict == "healthy"
    assert [match.rule for match in diagnosis.matches] == ["healthy"]
    assert diagnosis.description == (
        "On evaluation rows, loss went from 0.693 (nothing learned) to 0.560, reward accuracy is 70%, KL reached 80.0, "
        "chosen log-probability fell by 1.5 nats, rejected fell by 9.0 nats. "
        "A small fall of the chosen side is normal while the rejected side falls faster."
    )


@pytest.mark.parametrize(
    ("rule", "changes", "method"),
    [
        ("nan", {"train/loss": lambda step: math.nan if step == 7 else 0.6}, DPO()),
        ("no-signal", {"train/loss": math.log(2), "train/grad_norm": 0.0}, DPO()),
        (
            "too-small-steps",
            {"train/loss": 0.692, "eval/approx. KL/chosen": 0.01, "eval/approx. KL/rejected": 0.02},
            DPO(),
        ),
        ("swapped-eval", {"eval/loss": 0.8, "eval/reward/accuracy": 0.3}, DPO()),
        ("ties", {"eval/reward/accuracy": 0.4}, DPO()),
        ("over-optimised", {"train/loss": 0.1, "eval/loss": lambda step: 0.5 + 0.003 * step}, DPO()),
        ("label-noise", {"eval/loss": 0.693, "eval/reward/accuracy": 0.51}, DPO()),
        (
            "beta-scale",
            {"eval/loss": 0.68},
            DPO(dpo_beta=1.0, dpo_normalize_logratios_by_length=True),
        ),
        ("drift", {"eval/approx. KL/rejected": 900.0}, DPO()),
        (
            "displacement",
            {"eval/logps/chosen": lambda step: -100.0 - step, "eval/logps/rejected": lambda step: -100.0 - 1.1 * step},
            DPO(),
        ),
    ],
)
def test_each_fault_is_named_with_evidence_and_advice(rule, changes, method):
    diagnosis = diagnose(run(**changes), config=method)
    assert diagnosis.verdict == rule
    assert diagnosis.matches[0].evidence
    assert diagnosis.matches[0].advice
    assert str(diagnosis).startswith(f"{rule}: ")


def test_the_first_rule_is_the_verdict_and_the_others_are_listed():
    changes = {"train/loss": math.log(2), "train/grad_norm": 0.0, "eval/approx. KL/chosen": 0.0}
    diagnosis = diagnose(run(**changes, **{"eval/approx. KL/rejected": 0.0}))
    assert [match.rule for match in diagnosis.matches] == ["no-signal", "too-small-steps"]


def test_rules_about_evaluation_loss_are_silent_with_an_nll_term():
    changes = {"eval/loss": 0.8, "eval/reward/accuracy": 0.48, "train/loss": 0.1}
    assert diagnose(run(**changes)).verdict == "label-noise"
    assert diagnose(run(**changes), config=DPO(rpo_alpha=0.5)).verdict == "healthy"


def test_simpo_is_held_against_its_own_baseline():
    changes = {"eval/loss": 1.31, "train/loss": 1.3}
    method = DPO(dpo_beta=2.5, simpo_gamma=1.375)
    assert diagnose(run(**changes), config=method).verdict == "healthy"
    assert "from 1.600 (nothing learned)" in diagnose(run(**changes), config=method).description


def test_a_config_gives_its_method():
    config = JobConfig(model="m", training_method=DPO(rpo_alpha=0.5))
    changes = {"eval/loss": 0.8, "eval/reward/accuracy": 0.48, "train/loss": 0.1}
    assert diagnose(run(**changes), config=config).verdict == "healthy"


def test_typed_rows_and_the_servers_own_rows_give_the_same(tmp_path):
    raw = run()
    (tmp_path / "rows.json").write_text(json.dumps(raw))
    assert diagnose(runs.load(tmp_path / "rows.json")) == diagnose(raw)


def test_training_rows_tell_where_there_is_no_evaluation():
    rows = [
        {
            "train/global_step": step,
            "train/loss": 0.6,
            "train/reward/accuracy": 0.7,
            "train/approx. KL/chosen": 600.0,
            "train/logps/chosen": -100.0 + step,
            "train/logps/rejected": -100.0 - step,
        }
        for step in range(1, 61)
    ]
    diagnosis = diagnose(rows)
    assert diagnosis.verdict == "drift"
    assert "On training rows" in diagnosis.description
    assert "chosen log-probability rose by 40.0 nats, rejected fell by 40.0 nats." in diagnosis.description


def test_rows_with_missing_keys_are_read_for_what_they_hold():
    diagnosis = diagnose([{"train/global_step": 1, "train/loss": 0.6}], config=DPO(), total_steps=1)
    assert diagnosis.verdict == "healthy"
    assert diagnosis.description == "On training rows, loss went from 0.693 (nothing learned) to 0.600."
    assert diagnosis.to_dict()["matches"][0]["rule"] == "healthy"


def test_a_null_loss_is_what_a_server_writes_for_nan():
    diagnosis = diagnose([{"train/global_step": 1, "train/loss": 0.6}, {"train/global_step": 2, "train/loss": None}])
    assert [match.rule for match in diagnosis.matches] == ["nan"]
    assert diagnosis.matches[0].evidence == "a value at step 2 (train) is not finite"


def test_no_row_with_a_loss_is_said_plainly():
    with pytest.raises(ValueError, match="expected at least one row with a loss, found none"):
        diagnose([{"train/global_step": 1}])


def test_a_short_run_is_read_from_its_two_ends():
    rows = [
        {
            "train/global_step": step,
            "train/loss": 0.6,
            "train/logps/chosen": -100.0 - step,
            "train/logps/rejected": -100.0 - 1.1 * step,
        }
        for step in range(1, 20)
    ]
    assert diagnose(rows).verdict == "displacement"
    assert "chosen log-probability fell by 10.0 nats, rejected fell by 11.0 nats" in diagnose(rows).description


def test_a_fall_that_the_rejected_side_outruns_is_no_displacement():
    changes = {"eval/logps/chosen": lambda step: -100.0 - 0.5 * step, "eval/logps/rejected": lambda step: -100.0 - step}
    assert diagnose(run(**changes)).verdict == "healthy"


@pytest.mark.real
@pytest.mark.parametrize("name", EXPECTED)
def test_recorded_runs_get_the_verdict_they_are_named_for(name):
    path = CURVES / f"{name}.json"
    if not path.is_file():
        pytest.skip("the recorded runs are not beside this checkout")
    settings = json.loads(path.read_text())["settings"]
    knobs = {knob: settings[knob] for knob in DPO.model_fields if knob in settings}
    assert diagnose(runs.load(path), config=DPO(**knobs)).verdict == EXPECTED[name]


# while a run goes on


@pytest.mark.parametrize(
    ("steps", "total", "verdict"),
    [(9, None, "too-early"), (9, 40, "too-early"), (9, 9, "healthy"), (10, 40, "healthy")],
)
def test_few_rows_of_a_run_that_goes_on_say_nothing_yet(steps, total, verdict):
    assert diagnose(run(steps=steps), total_steps=total).verdict == verdict


def test_a_run_in_its_warm_up_is_not_blamed_for_small_steps():
    config = JobConfig(model="m", training_method="dpo", warmup_ratio=0.5)
    still = {"train/loss": 0.6931, "eval/loss": 0.6931, "eval/approx. KL/chosen": 0.0, "eval/approx. KL/rejected": 0.0}
    rows = run(steps=30, **still)
    early = diagnose(rows, config=config, total_steps=100)
    assert (early.verdict, early.matches[0].evidence) == (
        "too-early", "step 30 lies in the warm-up, which ends at step 50",
    )  # fmt: skip
    assert diagnose(rows, config=config, total_steps=40).verdict == "too-small-steps"


def test_what_cannot_get_better_is_said_early():
    broken = diagnose([{"train/global_step": 1, "train/loss": math.nan}], total_steps=40)
    flat = diagnose(run(steps=2, **{"train/loss": math.log(2), "train/grad_norm": 0.0}), total_steps=40)
    assert (broken.verdict, flat.verdict) == ("nan", "no-signal")


def test_a_diagnosis_says_which_rows_it_saw():
    assert diagnose(run()).rows == "training rows of the steps 21 to 40, as means and the evaluation at step 40"
    assert diagnose(run()).to_dict()["rows"] == diagnose(run()).rows
    only = [row for row in run() if "eval/loss" in row]
    assert diagnose(only).rows == "the evaluation at step 40"


# supervised runs


def supervised(loss, **more):
    return [
        {"train/global_step": step, "train/loss": loss(step), "train/grad_norm": 1.0} | more for step in range(1, 61)
    ]


def test_a_supervised_run_is_read_by_its_loss():
    diagnosis = diagnose(supervised(lambda step: 3.0 - 0.02 * step))
    assert diagnosis.verdict == "healthy"
    assert diagnosis.description == "On training rows, loss went from 2.980 (the first row) to 1.990."


@pytest.mark.parametrize(
    ("rows", "verdict", "word"),
    [
        (supervised(lambda step: 2.5), "too-small-steps", "the loss is still 2.5000"),
        (supervised(lambda step: 2.5, **{"train/grad_norm": 0.0}), "no-signal", "no answer is learned"),
        (
            supervised(lambda step: 3.0 - 0.045 * step)
            + [{"train/global_step": step, "eval/loss": 2.0 + abs(step - 30) / 50} for step in (15, 30, 45, 60)],
            "over-optimised", "more data",
        ),
    ],
)  # fmt: skip
def test_the_faults_of_a_supervised_run_are_told_in_its_terms(rows, verdict, word):
    diagnosis = diagnose(rows, config=JobConfig(model="m"))
    assert (diagnosis.verdict, word in str(diagnosis.matches[0])) == (verdict, True)


# forms


def test_a_diagnosis_is_json_and_a_notebooks_html():
    changes = {"eval/approx. KL/rejected": 900.0, "eval/loss": 1.0, "eval/reward/accuracy": 0.2}
    diagnosis = diagnose(run(**changes))
    assert json.loads(diagnosis.to_json()) == diagnosis.to_dict()
    html = diagnosis._repr_html_()
    assert html.startswith("<p><b>swapped-eval</b>: evaluation loss 1.000 is above 0.693 and accuracy is 0.20. <i>")
    assert "<p>Also:</p><ul><li><b>drift</b>: KL is 900;" in html
    assert "Also:" not in diagnose(run())._repr_html_()


@pytest.mark.parametrize(
    ("block", "method"),
    [
        ({"method": "dpo", "dpo_beta": 0.3, "simpo_gamma": None, "new": 1}, DPO(dpo_beta=0.3)),
        ({"method": "dpo", "dpo_beta": -3}, DPO()),
        ({"method": "sft", "train_on_inputs": "auto"}, SFT()),
        ({"method": "new"}, None),
        (None, None),
    ],
)
def test_a_jobs_method_is_what_the_server_tells(block, method):
    assert runs.method_of(FineTuneJob(training_method=block)) == method
