import pytest

from preftune.local import limits


def fault(answer):
    """Return status and the facts of an error, after a look at its envelope."""
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert error["type"]
    return answer.status_code, error["type"], error["param"]


def test_whoami_names_the_project(local):
    local_one = {"id": "local", "name": "local"}
    assert local.get("/v3/whoami") == {
        "type": "api_key",
        "api_key": {"id": "local"},
        "organization": local_one,
        "project": local_one | {"slug": "local"},
    }


def test_limits_are_answered_for_any_name_of_a_model_or_job(local):
    answer = local.get("/v1/fine-tunes/models/limits", model_name="acme/any:5")
    assert (answer["model_name"], answer["lora_training"]["default_rank"]) == ("acme/any:5", 16)
    assert fault(local.call("GET", "/v1/fine-tunes/models/limits")) == (400, "invalid_request_error", "model_name")


def test_supported_models_are_names(local):
    models = local.get("/v1/fine-tunes/models/supported")["models"]
    assert "Qwen/Qwen3-8B" in models


@pytest.mark.parametrize("name", ["a\nb", "x" * 1001])
def test_a_name_of_a_model_that_no_message_could_show_is_refused(local, name):
    answer = local.call("GET", "/v1/fine-tunes/models/limits", params={"model_name": name})
    assert fault(answer) == (400, "invalid_request_error", "model_name")


# prices


def estimate(local, **body):
    return local.call("POST", "/v1/fine-tunes/estimate-price", json=body)


SHOWN = {
    "estimation_available": True,
    "allowed_to_proceed": True,
    "estimated_total_price": 0.0,
    "estimated_train_token_count": 16,
    "estimated_eval_token_count": 0,
    "user_limit": 1e9,
}


def test_a_price_counts_the_bytes_of_epochs_and_evaluations(local):
    train, held_out = local.upload(b'{"text": "abcd"}'), local.upload(b'{"text": "ab"}')
    both = estimate(local, training_file=train, validation_file=held_out, n_epochs=2.0, n_evals=3).json()
    assert both == SHOWN | {"estimated_train_token_count": 32, "estimated_eval_token_count": 42}
    assert estimate(local, training_file=train, validation_file=held_out).json() == SHOWN


ZERO = {"method": "dpo", "dpo_beta": 0, "rpo_alpha": 0, "simpo_gamma": 0, "dpo_reference_free": False}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"model": "", "from_checkpoint": "", "validation_file": None, "training_type": None},
        {"model": "acme/tiny", "n_epochs": 0, "n_evals": 0},
        {"n_epochs": 0, "n_evals": 3, "training_method": ZERO},
        {"n_epochs": 1.0, "training_method": ZERO | {"dpo_beta": 0.1}},
        {"training_method": {}, "training_type": {}},
        {"training_method": {"method": "sft"}, "training_type": {"type": "Full"}},
        {"training_type": {"type": "Lora", "lora_r": 8, "lora_alpha": 16}},
    ],
    ids=[
        "nothing", "empty", "zeros", "a zero of each knob", "zeros beside a knob", "empty objects", "full training",
        "an adapter",
    ],
)  # fmt: skip
def test_a_price_is_said_of_what_the_client_sends_zeros_for_the_default(local, given):
    file_id = local.upload(b'{"text": "abcd"}')
    answer = estimate(local, training_file=file_id, **given)
    assert (answer.status_code, answer.json()) == (200, SHOWN)


@pytest.mark.parametrize(
    ("status", "reason"),
    [("QUEUED", "file_not_validated"), ("FAILED", "file_invalid"), ("INVALID_FORMAT", "file_invalid")],
)
@pytest.mark.parametrize("split", ["train", "eval"])
def test_a_price_is_not_known_before_the_files_are_validated(local, store, status, reason, split):
    files = {"train": local.upload(b'{"text": "abcd"}'), "eval": local.upload(b'{"text": "ab"}')}
    store.set_file(files[split], status=status)
    answer = estimate(local, training_file=files["train"], validation_file=files["eval"])
    assert answer.json() == {"estimation_available": False, "unavailable_reason": f"{split}_{reason}"}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"n_epochs": -1}, "n_epochs"),
        ({"n_epochs": "many"}, "n_epochs"),
        ({"n_epochs": [1]}, "n_epochs"),
        ({"n_epochs": limits.MAX_EPOCHS + 1}, "n_epochs"),
        ({"n_evals": 1.5}, "n_evals"),
        ({"n_evals": limits.MAX_EVALS + 1}, "n_evals"),
        ({"training_file": "file-9"}, "training_file"),
        ({"training_file": None}, "training_file"),
        ({"training_file": {}}, "training_file"),
        ({"training_method": {"method": "dpo", "dpo_beta": -1}}, "training_method.dpo_beta"),
        ({"training_method": {"method": "ppo"}}, "training_method"),
        ({"training_type": {"type": "Lora", "lora_r": -1}}, "training_type.lora_r"),
        ({"training_type": {"type": "Other"}}, "training_type"),
        ({"validation_file": "file-9"}, "validation_file"),
        ({"validation_file": True}, "validation_file"),
    ],
)
def test_a_price_of_nonsense_is_refused(local, change, param):
    body = {"training_file": local.upload(b'{"text": "abcd"}')} | change
    assert fault(estimate(local, **body)) == (400, "invalid_request_error", param)


# previews


def preview(local, file_id, **body):
    return local.call("POST", "/v1/fine-tunes/preview", json={"model": "acme/tiny", "training_file": file_id} | body)


def said(role, text, *, learned):
    """Return the tokens and labels of one message: its mark, its bytes, and an end where it is learned."""
    mark, tokens = [1, ord(role), 2], [*text.encode(), *([256] if learned else [])]
    return mark + tokens, [-100] * 3 + (tokens if learned else [-100] * len(tokens))


def joined(*messages):
    return [[one for part in parts for one in part] for parts in zip(*messages, strict=True)]


LAYOUTS = {
    "conversation": {"messages": [{"role": "user", "content": "Hé"}, {"role": "assistant", "content": "yo"}]},
    "general": {"text": "yo"},
    "instruction": {"prompt": "Hé", "completion": "yo"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_preview_shows_the_tokens_of_a_supervised_row_of_any_layout(local, layout):
    answer = preview(local, local.upload([LAYOUTS[layout]]))
    asked = [] if layout == "general" else [said("u", "Hé", learned=False)]
    ids, labels = joined(*asked, said("a", "yo", learned=True))
    start = len(ids) - 3
    marks = ["\x01", "u", "\x02", "H", "\\xc3", "\\xa9"][: start - 3]
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "dataset_format": layout,
            "max_seq_length": limits.MAX_LENGTH_SFT,
            "model": "acme/tiny",
            "train_on_inputs": False,
            "rows": [
                {
                    "input_ids": ids,
                    "labels": labels,
                    "num_tokens": len(ids),
                    "num_trained_tokens": 3,
                    "tokens": [*marks, "\x01", "a", "\x02", "y", "o", "<end>"],
                    "trained_spans": [[start, start + 3]],
                    "truncated": False,
                }
            ],
        },
    )


@pytest.mark.parametrize("given", ["auto", None, False, True])
def test_a_preview_learns_the_inputs_only_when_that_is_asked_for(local, given):
    shown = preview(local, local.upload([LAYOUTS["conversation"]]), train_on_inputs=given).json()
    ids, labels = joined(said("u", "Hé", learned=given is True), said("a", "yo", learned=True))
    (row,) = shown["rows"]
    assert (shown["train_on_inputs"], row["input_ids"], row["labels"]) == (given is True, ids, labels)


def test_an_answer_of_the_weight_zero_is_not_learned(local):
    messages = [{"role": "assistant", "content": "yo", "weight": 0}, *LAYOUTS["conversation"]["messages"]]
    (row,) = preview(local, local.upload([{"messages": messages}])).json()["rows"]
    expected = joined(said("a", "yo", learned=False), said("u", "Hé", learned=False), said("a", "yo", learned=True))
    assert [row["input_ids"], row["labels"]] == expected


def test_a_row_over_the_budget_is_shown_as_far_as_it_goes(local):
    (row,) = preview(local, local.upload([{"text": "x" * limits.MAX_LENGTH_SFT}])).json()["rows"]
    assert (row["num_tokens"], row["num_trained_tokens"], row["truncated"]) == (
        limits.MAX_LENGTH_SFT,
        limits.MAX_LENGTH_SFT - 3,
        True,
    )


@pytest.mark.parametrize(
    ("given", "count"), [({}, 5), ({"top_k": 1}, 1), ({"top_k": 50}, 50), ({"top_k": "7"}, 7), ({"top_k": 6.0}, 6)]
)
def test_a_preview_has_as_many_rows_as_are_asked_for(local, given, count):
    file_id = local.upload([{"text": f"{number}"} for number in range(60)])
    rows = preview(local, file_id, training_method="sft", **given).json()["rows"]
    assert [bytes(row["input_ids"][3:-1]).decode() for row in rows] == [f"{number}" for number in range(count)]


def test_a_preview_of_a_short_file_has_the_rows_that_there_are(local):
    assert len(preview(local, local.upload([{"text": "a"}, {"text": "b"}]), top_k=50).json()["rows"]) == 2


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": ""}, "model"),
        ({"model": ["acme/tiny"]}, "model"),
        ({"top_k": -1}, "top_k"),
        ({"top_k": 0}, "top_k"),
        ({"top_k": 1.5}, "top_k"),
        ({"top_k": 51}, "top_k"),
        ({"top_k": "many"}, "top_k"),
        ({"train_on_inputs": "yes"}, "train_on_inputs"),
        ({"train_on_inputs": 1}, "train_on_inputs"),
        ({"train_on_inputs": []}, "train_on_inputs"),
        ({"training_file": ""}, "training_file"),
        ({"training_file": "file-9"}, "training_file"),
        ({"training_file": 9}, "training_file"),
        ({"training_method": "dpo"}, "training_method"),
        ({"training_method": {"method": "sft"}}, "training_method"),
    ],
)
def test_a_preview_of_nonsense_is_refused(local, change, param):
    answer = preview(local, local.upload([{"text": "a"}]), **change)
    assert fault(answer) == (400, "invalid_request_error", param)


def test_a_preview_of_pairs_is_refused(local, pairs):
    answer = preview(local, local.upload(pairs(1)))
    assert fault(answer) == (400, "invalid_request_error", "training_file")
    message = "training_file: a preview is of conversations, prompts or text"
    assert answer.json()["error"]["message"] == message


def test_a_preview_of_a_file_that_is_for_no_tuning_is_refused(local):
    answer = preview(local, local.upload([{"text": "a"}], purpose="eval"))
    assert fault(answer) == (400, "invalid_request_error", "training_file")


@pytest.mark.parametrize("status", ["FAILED", "INVALID_FORMAT", "PENDING", "QUEUED", "RUNNING"])
def test_a_preview_of_a_file_that_was_not_read_is_refused(local, store, status):
    file_id = local.upload([{"text": "a"}])
    store.set_file(file_id, status=status)
    answer = preview(local, file_id)
    assert fault(answer) == (400, "invalid_request_error", "training_file")
    assert answer.json()["error"]["message"] == f"training_file: {file_id} is {status}, not COMPLETED"
