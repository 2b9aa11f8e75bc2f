import json
import math

import pytest

from preftune.errors import ConfigError, DataError
from preftune.recipes.demo import run_demo

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """Return a folder that everything a user has is in, while the demo runs."""
    folder = tmp_path_factory.mktemp("user") / "state"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PREFTUNE_STATE_DIR", "XDG_STATE_HOME", "HOME"):
            patch.setenv(name, str(folder))
        yield folder


@pytest.fixture(scope="module")
def demo(tmp_path_factory, state):
    return run_demo(out=tmp_path_factory.mktemp("demo") / "adapter")


def test_held_out_accuracy_reaches_four_fifths(demo):
    assert demo.to_dict()["eval_accuracy"][1] >= 0.8


def test_evaluation_loss_ends_below_no_preference(demo):
    first, last = demo.to_dict()["eval_loss"]
    assert last < first < math.log(2)


def test_kl_rises_from_zero(demo):
    start = demo.dpo_rows[0]
    result = demo.to_dict()
    assert (start.step, start.kl_chosen, start.kl_rejected, start.accuracy) == (1, 0.0, 0.0, 0.0)
    assert result["kl_chosen"] > 0
    assert result["kl_rejected"] > result["kl_chosen"]


def test_rejected_log_probabilities_fall_faster_than_chosen_ones(demo):
    result = demo.to_dict()
    chosen = result["logps_chosen"][1] - result["logps_chosen"][0]
    rejected = result["logps_rejected"][1] - result["logps_rejected"][0]
    assert rejected < chosen
    assert rejected < 0


def test_the_result_is_plain_values_with_the_documented_keys(demo):
    result = json.loads(json.dumps(demo.to_dict()))
    assert list(result) == [
        "pairs", "findings", "sft_job", "dpo_job", "train_rows", "eval_rows", "eval_accuracy", "eval_loss",
        "kl_chosen", "kl_rejected", "logps_chosen", "logps_rejected", "adapter", "seconds",
    ]  # fmt: skip
    assert (result["pairs"], result["findings"]) == (300, {"error": 0, "warning": 1, "info": 0})
    assert (result["train_rows"], result["eval_rows"]) == (4 * 19 + 3 * 19, 12)


def test_the_adapter_is_on_disk(demo):
    assert sorted(path.name for path in demo.adapter.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]


def test_nothing_is_left_in_the_users_state_folder(demo, state):
    assert demo.adapter.is_dir()
    assert not state.exists()


def test_no_prompt_of_a_users_file_is_on_both_sides(tmp_path):
    rows = [
        {"prompt": f"question {i % 15}", "chosen": f"good answer {i}", "rejected": f"poor answer {i}"}
        for i in range(30)
    ]
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(rows))
    seen = []
    demo = run_demo(path, out=tmp_path / "adapter", on_row=lambda stage, row: seen.append((stage, row)))
    assert demo.report.pairs == 30
    assert seen == demo.rows
    assert demo.dpo_rows[0].epoch == pytest.approx(0.5)  # 24 of the 30 pairs train: 12 of the 15 prompts, batches of 16


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "there is no pair in the file"),
        ('{"input": 1, "preferred_output": [], "non_preferred_output": []}\n', "mine.jsonl:1: input is a number"),
        ('{"prompt": "a", "chosen": "b", "rejected": "c"}\n', "expected at least 10 different prompts, found 1"),
        (
            "".join(f'{{"prompt": "{n % 9}", "chosen": "b{n}", "rejected": "c"}}\n' for n in range(30)),
            "mine.jsonl: expected at least 10 different prompts, found 9; add pairs",
        ),
    ],
)
def test_an_unfit_file_is_refused_with_its_place(tmp_path, text, sentence):
    path = tmp_path / "mine.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=sentence):
        run_demo(path, out=tmp_path / "adapter")


def test_a_place_that_cannot_be_written_is_refused_before_the_training(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="expected a folder that can be written"):
        run_demo(out=tmp_path / "file" / "adapter")
