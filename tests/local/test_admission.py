import pytest

from preftune.api.config import JobConfig, split_checkpoint
from preftune.local.admission import admit, check_method, output_name, parent, wire_config
from preftune.local.refusal import Refused


@pytest.fixture
def body(store):
    for name in ("file-1", "file-2"):
        record = {"id": name, "created_at": 1, "filename": "f", "purpose": "fine-tune", "file_type": "jsonl"}
        store.add_file(record | {"checksum": name})
        store.set_file(name, status="COMPLETED", report={"valid": True})
    return {"model": "acme/tiny", "training_file": "file-1"}


@pytest.fixture
def add_parent(store):
    def add(*kept):
        store.add_job("ft-1", output_name="local/tiny-abc", config={}, facts={"model": "m"}, idempotency_key=None)
        for step, final in kept:
            store.add_checkpoint("ft-1", step=step, final=final, message=f"{step} {final}")

    return add


def refusal(body, store):
    with pytest.raises(Refused) as caught:
        admit(body, store)
    return caught.value.status, caught.value.param, caught.value.message


def test_the_shortest_request_is_admitted_with_the_defaults(body, store):
    assert admit(body, store) == JobConfig(model="acme/tiny", training_file="file-1")


def test_empty_null_and_unknown_fields_are_absent(body, store):
    more = {"validation_file": "", "from_checkpoint": "", "suffix": None, "training_type": None, "from_the_future": 1}
    assert admit(body | more, store) == JobConfig(model="acme/tiny", training_file="file-1")


@pytest.mark.parametrize("name", ["learning_rate", "gradient_accumulation_steps"])
def test_zero_asks_for_the_default(body, store, name):
    assert getattr(admit(body | {name: 0}, store), name) == JobConfig.model_fields[name].default


def test_both_names_of_the_same_key_are_understood(body, store):
    assert admit(body | {"wandb_api_key": "w"}, store).wandb_key == "w"
    assert admit(body | {"wandb_key": "w"}, store).wandb_key == "w"


@pytest.mark.parametrize(
    ("change", "param", "message"),
    [
        ({"training_file": ""}, "training_file", "training_file is missing"),
        ({"training_file": "file-9"}, "training_file", "training_file: there is no file file-9"),
        ({"validation_file": "file-9"}, "validation_file", "validation_file: there is no file file-9"),
        ({"batch_size": 17}, "batch_size", "batch_size is 17; at most 16"),
        ({"n_checkpoints": 101}, "n_checkpoints", "n_checkpoints is 101; at most 100"),
        ({"max_seq_length": 65_537}, "max_seq_length", "max_seq_length is 65537; at most 65536"),
        (
            {"max_seq_length": 32_769, "training_method": {"method": "dpo"}},
            "max_seq_length",
            "max_seq_length is 32769; at most 32768",
        ),
        ({"n_epochs": 21}, "n_epochs", "n_epochs: must be from 1 to 20, found 21"),
        ({"learning_rate": 100}, "learning_rate", "learning_rate: must be from 1e-08 to 0.01, found 100.0"),
        (
            {"n_evals": 2},
            None,
            "n_evals is 2, but there is no validation_file to evaluate on; give one, or set n_evals to 0",
        ),
    ],
)
def test_a_request_is_refused_with_the_field_and_the_reason(body, store, change, param, message):
    assert refusal(body | change, store) == (400, param, message)


@pytest.mark.parametrize("beta", [-3, 0])
def test_a_beta_that_the_official_client_lets_pass_is_refused(body, store, beta):
    status, param, message = refusal(body | {"training_method": {"method": "dpo", "dpo_beta": beta}}, store)
    assert (status, param) == (400, "training_method.dpo_beta")
    assert message.startswith("training_method.dpo_beta: ")


@pytest.mark.parametrize("name", ["training_file", "validation_file"])
def test_a_file_whose_upload_is_unfinished_is_refused(body, store, name):
    store.set_file("file-2", status="PENDING")
    assert refusal(body | {name: "file-2"}, store) == (
        400, name, f"{name}: the upload of file-2 is not finished",
    )  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"training_method": [1], "dpo_beta": 1},
        {"training_type": 5, "lora_r": 5},
        {"lr_scheduler": {"lr_scheduler_type": "cosine", "lr_scheduler_args": 5}},
    ],
)
def test_a_block_of_an_odd_type_is_refused(body, store, change):
    assert refusal(body | change, store)[0] == 400


def test_model_and_checkpoint_exclude_each_other(body, store):
    assert (
        "exactly one of model and from_checkpoint, found both" in refusal(body | {"from_checkpoint": "ft-1"}, store)[2]
    )
    assert "found neither" in refusal(body | {"model": ""}, store)[2]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("ft-1", ("ft-1", None)),
        ("ft-1:20", ("ft-1", 20)),
        ("acme/tiny:suffix:ft-1", ("acme/tiny:suffix:ft-1", None)),
        ("acme/tiny:suffix:20", ("acme/tiny:suffix", 20)),
        ("ft-1:", ("ft-1:", None)),
        (":5", (":5", None)),
        ("ft-1:²", ("ft-1:²", None)),
        ("ft-1:٣", ("ft-1:٣", None)),
        ("ft-1:" + "9" * 5000, ("ft-1:" + "9" * 5000, None)),
        ("", ("", None)),
    ],
)
def test_only_digits_after_the_last_colon_are_a_step(address, expected):
    assert split_checkpoint(address) == expected


@pytest.mark.parametrize(
    ("address", "step"), [("ft-1", 4), ("ft-1:2", 2), ("ft-1:4", 4), ("local/tiny-abc", 4), ("local/tiny-abc:2", 2)]
)
def test_a_checkpoint_is_named_by_job_or_model_and_step(store, add_parent, address, step):
    add_parent((2, False), (4, True))
    job, found = parent(address, store)
    assert (job["id"], found) == ("ft-1", step)


@pytest.mark.parametrize(
    ("kept", "address", "message"),
    [
        ([], "ft-9", "there is no job or model ft-9"),
        ([], "ft-1", "ft-1 has no final checkpoint; it has none yet"),
        ([(2, False)], "ft-1", "ft-1 has no final checkpoint; it has 2"),
        ([(2, False), (4, True)], "ft-1:3", "ft-1 has no checkpoint at step 3; it has 4, 2"),
    ],
)
def test_an_unknown_checkpoint_is_refused_with_those_that_exist(body, store, add_parent, kept, address, message):
    add_parent(*kept)
    del body["model"]
    assert refusal(body | {"from_checkpoint": address}, store) == (
        400,
        "from_checkpoint",
        f"from_checkpoint: {message}",
    )


def test_the_job_shows_defaults_filled_in_and_no_secret(body, store):
    shown = wire_config(admit(body | {"wandb_api_key": "s3cret", "hf_api_token": "s3cret"}, store))
    assert shown == {
        "model": "acme/tiny",
        "training_file": "file-1",
        "training_method": {"method": "sft", "train_on_inputs": "auto"},
        "training_type": {
            "type": "Lora",
            "lora_r": 16,
            "lora_alpha": 32,
            "lora_dropout": 0.0,
            "lora_trainable_modules": "all-linear",
        },
        "packing": True,
        "n_epochs": 1,
        "n_checkpoints": 1,
        "n_evals": 0,
        "batch_size": 16,
        "learning_rate": 1e-5,
        "lr_scheduler": {"lr_scheduler_type": "cosine", "lr_scheduler_args": {"min_lr_ratio": 0.0, "num_cycles": 0.5}},
        "warmup_ratio": 0.0,
        "max_grad_norm": 1.0,
        "weight_decay": 0.0,
        "random_seed": 42,
        "early_stopping_enabled": False,
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": "Full"}, {"type": "Full"}),
        (
            {"type": "Lora", "lora_r": 4},
            {"type": "Lora", "lora_r": 4, "lora_alpha": 8, "lora_dropout": 0.0, "lora_trainable_modules": "all-linear"},
        ),
        (
            {"type": "Lora", "lora_alpha": 3, "lora_dropout": 0.5, "lora_trainable_modules": "q_proj"},
            {"type": "Lora", "lora_r": 16, "lora_alpha": 3, "lora_dropout": 0.5, "lora_trainable_modules": "q_proj"},
        ),
    ],
)
def test_the_training_type_is_completed_by_the_limits(body, store, given, expected):
    assert wire_config(admit(body | {"training_type": given}, store))["training_type"] == expected


@pytest.mark.parametrize("size", [3, 16])
def test_a_given_batch_size_and_seed_are_kept(body, store, size):
    shown = wire_config(admit(body | {"batch_size": size, "random_seed": 0}, store))
    assert (shown["batch_size"], shown["random_seed"]) == (size, 0)


def test_a_job_from_a_checkpoint_trains_like_its_parent_unless_it_says_otherwise(body, store, add_parent):
    add_parent((4, True))
    del body["model"]
    start = body | {"from_checkpoint": "ft-1"}
    assert wire_config(admit(start, store), inherited={"type": "Full"})["training_type"] == {"type": "Full"}
    own = wire_config(admit(start | {"training_type": {"type": "Lora"}}, store), inherited={"type": "Full"})
    assert own["training_type"]["type"] == "Lora"


def test_a_file_of_another_purpose_is_not_trained_on(local):
    file_id = local.upload(b"a,b\n", purpose="eval", file_name="a.csv", file_type="csv")
    answer = local.call("POST", "/v1/fine-tunes", json={"model": "m", "training_file": file_id})
    message = f"training_file: {file_id} was uploaded for 'eval', not for 'fine-tune'"
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, message)


@pytest.mark.parametrize(("length", "bound"), [(15, "at least 16"), (70_000, "at most 65536")])
def test_a_length_outside_the_limits_is_refused(local, length, bound):
    file_id = local.upload([{"text": "a"}])
    fields = {"model": "m", "training_file": file_id, "max_seq_length": length}
    answer = local.call("POST", "/v1/fine-tunes", json=fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "max_seq_length")
    assert bound in answer.json()["error"]["message"]


def test_vision_is_nothing_that_the_engine_has(local):
    file_id = local.upload([{"text": "a"}])
    fields = {"model": "m", "training_file": file_id, "multimodal_params": {"train_vision": True}}
    assert local.call("POST", "/v1/fine-tunes", json=fields).json()["error"]["param"] == "multimodal_params"


# what only a price asks about


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"training_method": None, "training_type": {}},
        {"training_method": {"method": "sft", "train_on_inputs": True}, "training_type": {"type": "Full"}},
        {"training_method": {"method": "dpo", "dpo_beta": 0, "rpo_alpha": 0.0, "simpo_gamma": 0}},
        {"training_method": {"method": "dpo", "dpo_beta": 0.3}, "training_type": {"type": "Lora", "lora_r": 4}},
        {"n_epochs": -5, "model": "", "training_file": "file-9"},
    ],
)
def test_a_method_that_a_job_may_have_can_be_priced_and_zero_is_the_default(body):
    check_method(body)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"training_method": "dpo "}, "training_method"),
        ({"training_method": {"method": "kto"}}, "training_method"),
        ({"training_method": {"method": "dpo", "dpo_beta": -1}}, "training_method.dpo_beta"),
        ({"training_type": {"type": "Lora", "lora_r": 0}}, "training_type.lora_r"),
        ({"training_type": {"type": "Half"}}, "training_type"),
    ],
)
def test_a_method_that_no_job_may_have_has_no_price(body, param):
    with pytest.raises(Refused) as caught:
        check_method(body)
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize(
    ("model", "suffix", "expected"),
    [
        ("acme/tiny", None, "local/tiny-01234567"),
        ("acme/tiny", "mine", "local/tiny-mine-01234567"),
        ("tiny", "", "local/tiny-01234567"),
    ],
)
def test_a_tuned_model_is_called_after_its_model_its_suffix_and_its_job(model, suffix, expected):
    assert output_name(model, suffix, "ft-01234567-89ab") == expected


@pytest.mark.parametrize(
    ("change", "param", "message"),
    [
        ({"lr_scheduler": {"lr_scheduler_type": "cosine", "lr_scheduler_args": {"num_cycles": 1e308}}}, "num_cycles",
         "num_cycles is 1e+308; at most 10000"),
        ({"training_type": {"type": "Lora", "lora_alpha": 10**400}}, "lora_alpha", "at most 1000000"),
        ({"training_type": {"type": "Lora", "lora_trainable_modules": "q_proj;rm"}}, "lora_trainable_modules",
         "lora_trainable_modules is 'q_proj;rm'; it must be all-linear, or names separated by commas"),
        ({"model": "acme/ti\nny"}, "model", "it must be a name such as"),
        ({"model": "acme/.."}, "model", "model is 'acme/..'; it must be a name such as Qwen/Qwen3-8B"),
        ({"model": "acme\\.."}, "model", "it must be a name such as"),
        ({"model": "acme/"}, "model", "it must be a name such as"),
        ({"suffix": "a/b"}, "suffix", "must be a part of a name"),
        ({"suffix": "a\\b"}, "suffix", "must be a part of a name"),
        ({"suffix": ".."}, "suffix", "must be a part of a name"),
        ({"suffix": ".a"}, "suffix", "must be a part of a name"),
        ({"suffix": "a\x00"}, "suffix", "must be a part of a name"),
        ({"suffix": "a b"}, "suffix", "must be a part of a name"),
    ],
)  # fmt: skip
def test_a_value_that_is_a_slip_or_a_trap_is_refused(body, store, change, param, message):
    status, found, sentence = refusal(body | change, store)
    assert (status, found, message in sentence) == (400, param, True)


@pytest.mark.parametrize("modules", ["all-linear", "q_proj", "q_proj, v_proj", "model.layers.0.mlp,k_proj"])
def test_names_of_modules_are_taken(body, store, modules):
    kind = admit(body | {"training_type": {"type": "Lora", "lora_trainable_modules": modules}}, store).training_type
    assert kind.lora_trainable_modules == modules
