import subprocess
import sys

from preftune.losses.rows import KEYS, wire_row


def test_a_row_on_the_wire_carries_step_and_epoch_under_train_in_both_splits():
    assert wire_row("eval", step=6, epoch=1.5, metrics={"loss": 0.5, "kl_chosen": 2.0, "accuracy": 1.0}) == {
        "train/global_step": 6,
        "train/epoch": 1.5,
        "eval/loss": 0.5,
        "eval/approx. KL/chosen": 2.0,
        "eval/reward/accuracy": 1.0,
    }


def test_no_name_on_the_wire_means_two_metrics():
    names = [name for understood in KEYS.values() for name in understood]
    assert len(names) == len(set(names))


def test_reading_a_row_or_a_configuration_imports_no_array_library():
    code = (
        "import sys, preftune.api, preftune.losses.rows; print(sorted({'numpy', 'array_api_compat'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
