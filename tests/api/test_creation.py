import pytest

from preftune.api.config import DPO, JobConfig
from preftune.api.creation import create
from preftune.api.models import FineTuneJob
from preftune.api.steps import Request, Sleep, Token
from preftune.errors import (
    APIConnectionError,
    APIResponseValidationError,
    BadRequestError,
    ConfigError,
    ConflictError,
    InternalServerError,
    RateLimitError,
)

CONFIG = JobConfig(
    model="m",
    training_file="file-1",
    suffix="mine",
    training_method=DPO(dpo_beta=0.2),
    lora_r=8,
    lora_alpha=16,
    wandb_key="w",
)
LIST = Request("GET", "/fine-tunes")
POST = Request("POST", "/fine-tunes", json=CONFIG.to_wire(), headers={"idempotency-key": "token-1"}, retry=False)
ECHO = {
    "id": "ft-new",
    "status": "pending",
    "model": "m",
    "training_file": "file-1",
    "validation_file": "",
    "suffix": "mine",
    "batch_size": 32,
    "learning_rate": 1e-05,
    "n_epochs": 1,
    "training_method": {"method": "dpo", "dpo_beta": 0.2, "rpo_alpha": 0.0},
    "training_type": {"type": "Lora", "lora_r": 8.0, "lora_alpha": 16},
    "n_checkpoints": "odd",
} | {"n_checkpoints": None}
OLD = ECHO | {"id": "ft-old"}
START = [(LIST, {"data": [OLD]}), (Token(), "token-1")]


def test_create_lists_the_jobs_then_asks_once_with_a_fresh_key(play):
    assert play(create(CONFIG), *START, (POST, ECHO)).result == FineTuneJob(**ECHO)


def test_create_takes_keywords_too(play):
    flow = create(
        model="m",
        training_file="file-1",
        suffix="mine",
        training_method="dpo",
        dpo_beta=0.2,
        lora_r=8,
        lora_alpha=16,
        wandb_key="w",
    )
    assert play(flow, *START, (POST, ECHO)).result == FineTuneJob(**ECHO)


@pytest.mark.parametrize(
    ("given", "asked", "limits", "expected"),
    [
        ({"model": "m"}, "m", {"lora_training": {"default_rank": 32, "max_rank": 64}}, (32, 64)),
        ({"model": "m"}, "m", {"lora_training": {"max_rank": 16}}, (16, 32)),
        ({"model": "m"}, "m", {}, (8, 16)),
        ({"from_checkpoint": "ft-1:7"}, "ft-1", {"lora_training": {"default_rank": 4}}, (4, 8)),
        ({"model": "m", "lora_alpha": 5}, "m", {"lora_training": {"default_rank": 4}}, (4, 5)),
    ],
)
def test_the_rank_that_a_lora_block_leaves_open_is_the_models_default(play, given, asked, limits, expected):
    config = JobConfig(training_file="file-1", lora=True, **given)
    block = config.to_wire()["training_type"] | dict(zip(("lora_r", "lora_alpha"), expected, strict=True))
    post = Request(
        "POST",
        "/fine-tunes",
        json=config.to_wire() | {"training_type": block},
        headers={"idempotency-key": "token-1"},
        retry=False,
    )
    question = Request("GET", "/fine-tunes/models/limits", params={"model_name": asked})
    assert play(create(config), (question, limits), *START, (post, ECHO)).result == FineTuneJob(**ECHO)


def test_an_alpha_that_is_left_open_is_twice_the_rank(play):
    config = JobConfig(model="m", training_file="file-1", lora_r=4)
    body = config.to_wire()
    body["training_type"] |= {"lora_alpha": 8}
    post = Request("POST", "/fine-tunes", json=body, headers={"idempotency-key": "token-1"}, retry=False)
    assert play(create(config), *START, (post, ECHO)).result == FineTuneJob(**ECHO)


@pytest.mark.parametrize("answer", [{}, b"", b"<html>"])
def test_an_answer_that_names_no_job_is_looked_for_in_the_list(play, answer):
    played = play(create(CONFIG), *START, (POST, answer), (Sleep(0.5), None), (LIST, {"data": [ECHO, OLD]}))
    assert played.result == FineTuneJob(**ECHO)


# an answer that was lost


@pytest.mark.parametrize("status", [408, 500, 503])
def test_the_one_new_equal_job_is_adopted_after_an_ambiguous_status(play, refused, status):
    played = play(create(CONFIG), *START, (POST, refused(status)), (Sleep(0.5), None), (LIST, {"data": [ECHO, OLD]}))
    assert played.result == FineTuneJob(**ECHO)


def test_the_one_new_equal_job_is_adopted_after_a_dropped_connection(play, dropped):
    played = play(create(CONFIG), *START, (POST, dropped()), (Sleep(0.5), None), (LIST, {"data": [ECHO, OLD]}))
    assert played.result == FineTuneJob(**ECHO)


@pytest.mark.parametrize(
    "changed",
    [
        {"model": "other"},
        {"suffix": "theirs"},
        {"learning_rate": 2e-5},
        {"training_method": {"method": "sft"}},
        {"training_method": "dpo"},
        {"training_method": {"method": "dpo", "dpo_beta": 0.3}},
        {"training_type": {"type": "Lora", "lora_r": 16}},
        {"packing": False},
    ],
)
def test_a_new_job_that_differs_is_not_adopted(play, dropped, changed):
    played = play(
        create(CONFIG),
        *START,
        (POST, dropped()),
        (Sleep(0.5), None),
        (LIST, {"data": [ECHO | {"id": "ft-other"} | changed, OLD]}),
        (POST, ECHO),
    )
    assert played.result == FineTuneJob(**ECHO)


@pytest.mark.parametrize(
    "changed",
    [
        {"model": None},
        {"suffix": ""},
        {"batch_size": "max"},
        {"learning_rate": 1.00000001e-05},
        {"training_method": {"method": "dpo"}},
        {"wandb_key": "hidden"},
        {"n_epochs": 1.0},
    ],
)
def test_what_the_server_leaves_out_or_rounds_is_no_difference(play, dropped, changed):
    echo = ECHO | changed
    played = play(create(CONFIG), *START, (POST, dropped()), (Sleep(0.5), None), (LIST, {"data": [echo]}))
    assert played.result == FineTuneJob(**echo)


def test_an_echo_of_an_odd_type_is_a_difference_and_no_crash(play, dropped):
    played = play(
        create(CONFIG),
        *START,
        (POST, dropped()),
        (Sleep(0.5), None),
        (LIST, {"data": [ECHO | {"id": "ft-odd", "n_epochs": "one"}]}),
        (POST, ECHO),
    )
    assert played.result.id == "ft-new"


def test_two_new_equal_jobs_are_an_error_that_names_both(play, dropped):
    with pytest.raises(ConflictError) as error:
        play(
            create(CONFIG),
            *START,
            (POST, dropped()),
            (Sleep(0.5), None),
            (LIST, {"data": [ECHO, ECHO | {"id": "ft-twin"}, OLD]}),
        )
    assert str(error.value) == (
        "POST /fine-tunes: the answer was lost, and ft-new and ft-twin both look like this job; cancel the unwanted one"
    )


def test_with_no_new_job_it_is_asked_for_again_under_the_same_key(play, dropped):
    played = play(create(CONFIG), *START, (POST, dropped()), (Sleep(0.5), None), (LIST, {"data": [OLD]}), (POST, ECHO))
    assert played.result == FineTuneJob(**ECHO)


def test_what_was_surely_not_sent_is_sent_again_without_a_list(play, dropped):
    played = play(create(CONFIG), *START, (POST, dropped(ambiguous=False)), (Sleep(0.5), None), (POST, ECHO))
    assert played.result == FineTuneJob(**ECHO)


def test_the_pause_that_the_server_asks_for_is_kept(play, refused):
    played = play(create(CONFIG), *START, (POST, refused(429, retry_after=7.0)), (Sleep(7.0), None), (POST, ECHO))
    assert played.result == FineTuneJob(**ECHO)


def test_a_wait_that_is_too_long_still_looks_for_the_job_and_then_raises(play, refused):
    with pytest.raises(InternalServerError):
        play(
            create(CONFIG),
            *START,
            (POST, refused(503, retry_after=999.0)),
            (Sleep(0.5), None),
            (LIST, {"data": [OLD]}),
        )


def test_a_server_that_asks_not_to_retry_is_obeyed_unless_the_job_is_there(play, refused):
    failure = refused(500, retry_hint=False)
    played = play(create(CONFIG), *START, (POST, failure), (Sleep(0.5), None), (LIST, {"data": [ECHO]}))
    assert played.result == FineTuneJob(**ECHO)


def test_it_gives_up_after_three_attempts(play, dropped):
    again = (LIST, {"data": [OLD]})
    with pytest.raises(APIConnectionError):
        play(
            create(CONFIG),
            *START,
            (POST, dropped()),
            (Sleep(0.5), None),
            again,
            (POST, dropped()),
            (Sleep(1.0), None),
            again,
            (POST, dropped()),
            (Sleep(2.0), None),
            again,
        )


def test_a_limited_rate_is_an_error_after_three_attempts(play, refused):
    with pytest.raises(RateLimitError):
        play(
            create(CONFIG),
            *START,
            (POST, refused(429)),
            (Sleep(0.5), None),
            (POST, refused(429)),
            (Sleep(1.0), None),
            (POST, refused(429)),
            (Sleep(2.0), None),
        )


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 422])
def test_a_refusal_is_raised_at_once(play, refused, status):
    error = refused(status)
    with pytest.raises(type(error)) as raised:
        play(create(CONFIG), *START, (POST, error))
    assert raised.value is error


@pytest.mark.parametrize("answer", [{}, b"<html>"])
def test_an_answer_that_names_no_job_is_raised_when_no_job_is_there_and_nothing_is_sent_twice(play, answer):
    with pytest.raises(APIResponseValidationError) as error:
        play(create(CONFIG), *START, (POST, answer), (Sleep(0.5), None), (LIST, {"data": [OLD]}))
    assert error.value.ambiguous


def test_a_network_that_is_gone_afterwards_leaves_the_failure_of_the_request(play, dropped):
    lost = dropped()
    with pytest.raises(APIConnectionError) as error:
        play(create(CONFIG), *START, (POST, lost), (Sleep(0.5), None), (LIST, dropped()))
    assert error.value is lost


def test_a_list_that_is_refused_afterwards_is_the_cause_of_not_knowing(play, dropped, refused):
    lost = dropped()
    with pytest.raises(APIConnectionError) as error:
        play(create(CONFIG), *START, (POST, lost), (Sleep(0.5), None), (LIST, refused(400)))
    assert error.value is lost
    assert isinstance(error.value.__cause__, BadRequestError)


def test_a_list_that_fails_before_the_request_sends_nothing(play, refused):
    with pytest.raises(BadRequestError):
        play(create(CONFIG), (LIST, refused(400)))


# arguments


def test_a_configuration_and_keywords_exclude_each_other(play):
    with pytest.raises(ConfigError) as error:
        play(create(CONFIG, n_epochs=2, suffix="x"))
    assert str(error.value) == (
        "create: expected a JobConfig or keywords, found both (n_epochs, suffix); use config.replace()"
    )


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"model": "m"}, "create: training_file is missing; upload one: client.files.upload(path).id"),
        ({"model": "m", "n_epoch": 1}, "create: JobConfig has no field 'n_epoch'; did you mean 'n_epochs'?"),
        (
            {"model": "m", "training_file": "t", "n_evals": 3},
            "create: n_evals is 3, but there is no validation_file to evaluate on; give one, or set n_evals to 0",
        ),
        (
            {},
            (
                "create: expected exactly one of model and from_checkpoint, found neither; "
                "a checkpoint brings its model along"
            ),
        ),
    ],
)
def test_keywords_that_make_no_job_are_refused_before_anything_is_sent(play, fields, sentence):
    with pytest.raises(ConfigError) as error:
        play(create(**fields))
    assert str(error.value) == sentence


def test_create_takes_a_dict_too(play):
    fields = CONFIG.to_wire() | {"lora_r": None}
    assert play(create(fields), *START, (POST, ECHO)).result == FineTuneJob(**ECHO)


def test_an_old_output_name_with_colons_is_asked_for_whole(play):
    config = JobConfig(from_checkpoint="ns/base:mine:ft-1", training_file="f", lora=True)
    asked = Request("GET", "/fine-tunes/models/limits", params={"model_name": "ns/base:mine:ft-1"})
    flow = create(config)
    assert next(flow) == asked
    flow.close()
