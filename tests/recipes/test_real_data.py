"""Real preference data, through the client, against the local server."""

import json
from pathlib import Path

import pytest

import preftune as pt

pytestmark = [pytest.mark.real, pytest.mark.slow]
LLMBAR = ["natural", "adversarial_gptinst", "adversarial_gptout", "adversarial_manual", "adversarial_neighbor"]


@pytest.fixture
def llmbar(real_data, tmp_path):
    """Return the 419 LLMBar comparisons in one file, without the one pair whose answers say the same."""
    joined = tmp_path / "llmbar.jsonl"
    parts = []
    for name in LLMBAR:
        pt.convert(real_data / "llmbar" / f"{name}.json", tmp_path / f"{name}.jsonl")
        parts.append((tmp_path / f"{name}.jsonl").read_text(encoding="utf-8"))
    joined.write_text("".join(parts), encoding="utf-8")
    return joined


@pytest.mark.parametrize("name", ["llamafactory/dpo_en.json", *(f"llmbar/{name}.json" for name in LLMBAR)])
def test_real_pairs_are_rehearsed(real_data, name):
    found = pt.rehearse(real_data / name, pt.DPO(dpo_beta=0.2), pairs=24, folds=2)
    assert (len(found.cases), found.dropped) == (24, {})
    assert found.total == len(json.loads((real_data / name).read_text(encoding="utf-8")))
    assert all(case.place.startswith(f"{Path(name).name}: row ") for case in found.cases)
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert [0 <= judge["accuracy"] <= 1 for judge in told["judges"]] == [True] * 5
    assert 1 < found.bits < 8
    assert [line for line in str(found).splitlines() if len(line) > 80] == []


@pytest.mark.parametrize(("name", "duplicates"), [("dpo_en", 5), ("dpo_zh", 11)])
def test_real_pairs_are_converted_checked_trained_streamed_and_downloaded(
    preftune_client, real_data, tmp_path, llmbar, name, duplicates
):
    data = tmp_path / f"{name}.jsonl"
    assert pt.convert(real_data / "llamafactory" / f"{name}.json", data).pairs == 300
    report = pt.check(data)
    assert report.ok
    warned = {found.rule: found.count for found in report.findings if found.lines and found.severity != "info"}
    assert warned == {"duplicate": duplicates}

    rows = []
    done = pt.sft_then_dpo(
        preftune_client,
        data,
        model="Qwen/Qwen3-8B",
        validation=llmbar,
        dpo={"n_evals": 2},
        on_row=lambda stage, row: rows.append((stage, row.split, row.step)),
    )
    steps = range(1, 20)  # 300 pairs in batches of 16
    assert rows == [
        *(("sft", "train", step) for step in steps),
        *(
            ("dpo", split, step)
            for step in steps
            for split in ("train", "eval")
            if split == "train" or step in (10, 19)
        ),
    ]
    first, *_, last = preftune_client.fine_tuning.list_metrics(done.dpo_job)
    assert (first.accuracy, first.kl_chosen, first.kl_rejected) == (0.0, 0.0, 0.0)
    assert last.split == "eval"
    assert last.kl_chosen > 0
    adapter = preftune_client.fine_tuning.download(done.dpo_job, to=tmp_path / "adapter")
    assert (adapter / "adapter_model.safetensors").stat().st_size > 100_000
