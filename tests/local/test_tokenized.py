import io
import json
import tarfile

import pytest
import zstandard

from preftune.api.config import JobConfig
from preftune.local import tokenized, validate
from preftune.local.engine.encode import END, answer_bytes, cut, cut_pair, encode, encode_pair, render
from preftune.pairs.formats import together

USER, ASSISTANT, SYSTEM = [1, ord("u"), 2], [1, ord("a"), 2], [1, ord("s"), 2]


def masked(count):
    return [-100] * count


@pytest.fixture
def write(tmp_path):
    def rows(*given):
        path = tmp_path / "file-1"
        path.write_text("".join(json.dumps(row) + "\n" for row in given))
        return path

    return rows


def supervised(path, kind, *, budget=1000, on_inputs=False):
    config = JobConfig(model="m", max_seq_length=budget, train_on_inputs=on_inputs)
    return list(tokenized.rows(path, kind, config))


def preference(path, *, budget=1000):
    config = JobConfig(model="m", max_seq_length=budget, training_method="dpo")
    return list(tokenized.rows(path, "preference_openai", config))


def turn(role, content, **more):
    return {"role": role, "content": content} | more


TALK = [turn("system", "S"), turn("user", "U"), turn("assistant", "AB"), turn("user", "é"), turn("assistant", "C")]
TALK_IDS = [
    *SYSTEM, ord("S"), *USER, ord("U"), *ASSISTANT, *b"AB", END, *USER, *"é".encode(), *ASSISTANT, ord("C"), END,
]  # fmt: skip


# supervised


def test_a_conversation_is_one_sequence_of_which_the_answers_are_learned(write):
    labels = [*masked(4), *masked(4), *masked(3), *b"AB", END, *masked(5), *masked(3), ord("C"), END]
    assert supervised(write({"messages": TALK}), "conversation") == [{"input_ids": TALK_IDS, "labels": labels}]


def test_inputs_are_learned_when_asked_for_but_for_the_marks(write):
    (row,) = supervised(write({"messages": TALK[:3]}), "conversation", on_inputs=True)
    assert row["input_ids"] == [*SYSTEM, ord("S"), END, *USER, ord("U"), END, *ASSISTANT, *b"AB", END]
    assert row["labels"] == [*masked(3), ord("S"), END, *masked(3), ord("U"), END, *masked(3), *b"AB", END]


def test_a_message_of_weight_zero_is_shown_and_not_learned(write):
    talk = [TALK[1], turn("assistant", "AB", weight=0), TALK[3], turn("assistant", "C", weight=1)]
    (row,) = supervised(write({"messages": talk}), "conversation")
    assert row["input_ids"] == [*USER, ord("U"), *ASSISTANT, *b"AB", *USER, *"é".encode(), *ASSISTANT, ord("C"), END]
    assert row["labels"] == [*masked(17), ord("C"), END]


@pytest.mark.parametrize(
    ("row", "kind", "ids"),
    [
        ({"prompt": "p", "completion": "c"}, "instruction", [*USER, ord("p"), *ASSISTANT, ord("c"), END]),
        ({"text": "t"}, "general", [*ASSISTANT, ord("t"), END]),
        ({"text": ""}, "general", [*ASSISTANT, END]),
    ],
)
def test_every_layout_is_the_conversation_that_it_is(write, row, kind, ids):
    assert [found["input_ids"] for found in supervised(write(row), kind)] == [ids]


def test_a_sequence_is_cut_to_its_budget(write):
    path = write({"messages": TALK})
    (row,) = supervised(path, "conversation", budget=13)
    assert row == {"input_ids": TALK_IDS[:13], "labels": [*masked(11), *b"AB"]}
    assert supervised(path, "conversation", budget=len(TALK_IDS))[0]["input_ids"] == TALK_IDS


@pytest.mark.parametrize("on_inputs", [False, True])
def test_what_is_learned_is_what_the_trainer_learns(write, on_inputs):
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    talk = [*TALK, {"role": "assistant", "content": None, "tool_calls": calls}, turn("tool", "5"), TALK[-1]]
    (row,) = supervised(write({"messages": talk}), "conversation", on_inputs=on_inputs)
    learned = [
        encode(cut(render(talk[:index]), answer_bytes(message), 10_000, message["role"][:1].encode())).targets.tolist()
        for index, message in enumerate(talk)
        if on_inputs or message["role"] == "assistant"
    ]
    assert [label for label in row["labels"] if label != -100] == [token for one in learned for token in one]


# preference

PAIR = {
    "input": {"messages": [turn("user", "Q?")]},
    "preferred_output": [turn("assistant", "yes")],
    "non_preferred_output": [turn("assistant", "no!")],
}


def test_a_preference_is_two_sequences_after_the_same_prompt(write):
    prompt = [*USER, *b"Q?", *ASSISTANT]
    assert preference(write(PAIR)) == [
        {
            "chosen_input_ids": [*prompt, *b"yes", END],
            "chosen_labels": [*masked(8), *b"yes", END],
            "rejected_input_ids": [*prompt, *b"no!", END],
            "rejected_labels": [*masked(8), *b"no!", END],
        }
    ]


@pytest.mark.parametrize("budget", [7, 8, 9, 1000])
def test_what_is_learned_of_a_pair_is_what_the_trainer_learns(write, budget):
    longer = PAIR | {"preferred_output": [turn("assistant", "yés")]}
    (row,) = preference(write(longer), budget=budget)
    pair = encode_pair(cut_pair(together.read(longer), budget))
    learned = {side: [label for label in row[f"{side}_labels"] if label != -100] for side in ("chosen", "rejected")}
    assert learned == {"chosen": pair.chosen.targets.tolist(), "rejected": pair.rejected.targets.tolist()}
    assert (row["chosen_labels"][-1] == END) == (budget == 1000)


def test_a_pair_of_which_the_budget_leaves_no_answer_is_not_among_what_is_trained_on(write):
    assert preference(write(PAIR), budget=5) == []


# the archive


def unpacked(path):
    content = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return [(one.name, one.mtime, one.uid, one.mode, tar.extractfile(one).read()) for one in tar]


def test_the_archive_holds_a_file_of_lines_for_each_split(tmp_path):
    path = tmp_path / "tokens.tar.zst"
    rows = {"training": [{"input_ids": [1, 2], "labels": [-100, 2]}, {"input_ids": [], "labels": []}], "validation": []}
    tokenized.write_archive(path, {split: iter(found) for split, found in rows.items()})
    assert unpacked(path) == [
        ("training.jsonl", 0, 0, 0o644, b'{"input_ids":[1,2],"labels":[-100,2]}\n{"input_ids":[],"labels":[]}\n'),
        ("validation.jsonl", 0, 0, 0o644, b""),
    ]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("row", "rows"),
    [
        (PAIR, preference),
        ({"messages": TALK}, lambda path: supervised(path, "conversation")),
    ],
    ids=["dpo", "sft"],
)
def test_the_same_rows_make_the_same_archive(tmp_path, write, row, rows):
    source, paths = write(row, row), [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        tokenized.write_archive(path, {"training": iter(rows(source))})
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert unpacked(paths[0])[0][-1].count(b"\n") == 2


def test_rows_that_break_off_leave_no_archive(tmp_path):
    path = tmp_path / "tokens.tar.zst"

    def rows():
        yield {"input_ids": [1]}
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        tokenized.write_archive(path, {"training": rows()})
    assert not path.exists()


# the preview


def preview(path, kind, **given):
    return tokenized.preview(path, kind, **({"count": 5, "budget": 1000, "on_inputs": False} | given))


def test_a_preview_shows_what_the_trainer_sees(write):
    assert preview(write({"messages": TALK}), "conversation") == [
        {
            "input_ids": TALK_IDS,
            "labels": [*masked(11), *b"AB", END, *masked(8), ord("C"), END],
            "num_tokens": 24,
            "num_trained_tokens": 5,
            "tokens": [
                "\x01", "s", "\x02", "S", "\x01", "u", "\x02", "U", "\x01", "a", "\x02", "A", "B", "<end>",
                "\x01", "u", "\x02", "\\xc3", "\\xa9", "\x01", "a", "\x02", "C", "<end>",
            ],
            "trained_spans": [(11, 14), (22, 24)],
            "truncated": False,
        }
    ]  # fmt: skip


def test_a_preview_says_what_was_cut(write):
    (row,) = preview(write({"messages": TALK}), "conversation", budget=12)
    assert (row["num_tokens"], row["num_trained_tokens"], row["trained_spans"], row["truncated"]) == (
        12, 1, [(11, 12)], True,
    )  # fmt: skip


@pytest.mark.parametrize(("asked", "shown"), [(1, 1), (3, 3), (50, 4)])
def test_a_preview_shows_as_many_rows_as_asked_for_where_there_are_as_many(write, asked, shown):
    path = write(*({"text": f"{n}"} for n in range(4)))
    assert [row["tokens"][3] for row in preview(path, "general", count=asked)] == [str(n) for n in range(shown)]


def test_the_rows_of_a_preview_are_those_of_the_archive(write):
    path = write({"messages": TALK}, {"messages": TALK[1:3]})
    for on_inputs in (False, True):
        shown = preview(path, validate.CONVERSATION, budget=10, on_inputs=on_inputs)
        rows = supervised(path, validate.CONVERSATION, budget=10, on_inputs=on_inputs)
        assert [{name: row[name] for name in ("input_ids", "labels")} for row in shown] == rows
