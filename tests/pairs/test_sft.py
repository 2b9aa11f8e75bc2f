import json

import pytest

from preftune.errors import DataError
from preftune.pairs import to_sft

SYSTEM, USER = {"role": "system", "content": "s"}, {"role": "user", "content": "Q\u2028?"}
CHOSEN, REJECTED = {"role": "assistant", "content": "é", "reasoning": "r"}, {"role": "assistant", "content": "b"}
TOOLS = [{"type": "function", "function": {"name": "f"}}]


def row(**given):
    return {
        "input": {"messages": [SYSTEM, USER], **given},
        "preferred_output": [CHOSEN],
        "non_preferred_output": [REJECTED],
    }


def test_to_sft_writes_each_prompt_with_its_chosen_answer(write_rows, tmp_path):
    dst = tmp_path / "sft.jsonl"
    assert to_sft(write_rows(row(), row(tools=TOOLS)), str(dst)) == 2
    rows = [{"messages": [SYSTEM, USER, CHOSEN]}, {"messages": [SYSTEM, USER, CHOSEN], "tools": TOOLS}]
    assert dst.read_bytes() == "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in rows).encode()


def test_to_sft_reads_any_layout(write_rows, tmp_path):
    src = write_rows({"prompt": "Q?", "chosen": "a", "rejected": "b"})
    dst = tmp_path / "sft.jsonl"
    assert to_sft(src, dst, source="trl") == to_sft(src, dst) == 1
    messages = [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "a"}]
    assert json.loads(dst.read_text(encoding="utf-8")) == {"messages": messages}


def test_to_sft_leaves_nothing_behind_after_a_row_that_cannot_be_read(write_rows, tmp_path):
    src = write_rows(row(), row() | {"preferred_output": []})
    with pytest.raises(DataError, match=r"^pairs\.jsonl:2: preferred_output is a list of 0; it must be"):
        to_sft(src, tmp_path / "sft.jsonl", source="together")
    assert list(tmp_path.iterdir()) == [src]


def test_to_sft_leaves_out_what_is_to_train_nothing_and_keeps_other_weights(write_rows, tmp_path):
    dst = tmp_path / "sft.jsonl"
    assert to_sft(write_rows(row() | {"weight": 0}, row() | {"weight": 0.5}), dst) == 1
    assert json.loads(dst.read_text(encoding="utf-8")) == {"messages": [SYSTEM, USER, CHOSEN], "weight": 0.5}
