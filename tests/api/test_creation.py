import json
import random
from itertools import product

import pytest

from preftune.api.config import DPO, SFT, JobConfig
from preftune.api.creation import create
from preftune.api.models import FineTuneJob
from preftune.api.steps import Claim, Hold, Now, Record, Recorded, Request, Response, Retries, Sleep, Token
from preftune.errors import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APITimeoutError,
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
    hf_api_token="hf",
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
BODY = {name: value for name, value in CONFIG.to_wire().items() if name not in ("wandb_key", "hf_api_token")}
ASKED = {"event": "asked", "key": "token-1", "body": BODY, "known": ["ft-old"]}
CREATED = {"event": "created", "key": "token-1", "job": "ft-new"}
ADOPTED = {"event": "adopted", "key": "token-1", "job": "ft-new"}
REFUSED = {"event": "refused", "key": "token-1"}
ESTIMATE = Request(
    "POST",
    "/fine-tunes/estimate-price",
    json={
        "training_file": "file-1",
        "validation_file": "",
        "model": "m",
        "from_checkpoint": "",
        "n_epochs": 1,
        "n_evals": 0,
        "training_method": CONFIG.to_wire()["training_method"],
        "training_type": CONFIG.to_wire()["training_type"],
    },
)


def too_late():
    """Return what a driver throws when the deadline of the whole call is over."""
    error = APITimeoutError("the deadline", method="GET", path="/x")
    error.retry_hint = False
    return error


ADVICE = "; a job may exist: look with client.fine_tuning.last() before you create it again"


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
        hf_api_token="hf",
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


@pytest.mark.parametrize("kind", [None, "Full"])
def test_what_is_no_lora_block_is_sent_as_it_is(play, kind):
    config = JobConfig(model="m", training_file="file-1", training_type=kind)
    post = Request("POST", "/fine-tunes", json=config.to_wire(), headers={"idempotency-key": "token-1"}, retry=False)
    assert play(create(config), *START, (post, ECHO)).result == FineTuneJob(**ECHO)


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


def test_a_choice_left_to_the_server_is_no_difference_when_it_comes_back_chosen(play, dropped):
    config = JobConfig(model="m", training_file="file-1", training_method=SFT(train_on_inputs="auto"))
    post = Request("POST", "/fine-tunes", json=config.to_wire(), headers={"idempotency-key": "token-1"}, retry=False)
    echo = {"id": "ft-1", "training_method": {"method": "sft", "train_on_inputs": False}}
    start = [(LIST, {"data": []}), (Token(), "token-1")]
    played = play(create(config), *start, (post, dropped()), (Sleep(0.5), None), (LIST, {"data": [echo]}))
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


@pytest.mark.parametrize(("retries", "pauses"), [(0, [0.5]), (2, [0.5, 1.0, 2.0]), (5, [0.5, 1.0, 2.0, 4.0, 8.0, 8.0])])
def test_it_asks_once_more_than_the_retries_that_the_user_allows(play, notes, dropped, retries, pauses):
    lost = dropped()
    attempts = [step for pause in pauses for step in ((POST, lost), (Sleep(pause), None), (LIST, {"data": [OLD]}))]
    with pytest.raises(APIConnectionError) as error:
        play(create(CONFIG), *START, *attempts, notes=notes(retries=retries))
    assert error.value is lost


@pytest.mark.parametrize(("retries", "pauses"), [(0, []), (2, [0.5, 1.0]), (5, [0.5, 1.0, 2.0, 4.0, 8.0])])
def test_a_limited_rate_is_an_error_without_a_pause_after_the_last_attempt(play, notes, refused, retries, pauses):
    attempts = [step for pause in pauses for step in ((POST, refused(429)), (Sleep(pause), None))]
    with pytest.raises(RateLimitError):
        play(create(CONFIG), *START, *attempts, (POST, refused(429)), notes=notes(retries=retries))


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


@pytest.mark.parametrize("ahead", [[], [(Sleep(0.5), None)]])
def test_a_deadline_that_ends_the_search_leaves_the_failure_of_the_request(play, dropped, ahead):
    lost, late = dropped(), too_late()
    with pytest.raises(APIConnectionError) as error:
        play(create(CONFIG), *START, (POST, lost), *ahead, ((LIST if ahead else Sleep(0.5)), late))
    assert error.value is lost
    assert error.value.__cause__ is late


def test_a_conflict_of_the_list_itself_is_not_taken_for_two_jobs(play, dropped, refused):
    lost, conflict = dropped(), refused(409)
    with pytest.raises(APIConnectionError) as error:
        play(create(CONFIG), *START, (POST, lost), (Sleep(0.5), None), (LIST, conflict))
    assert error.value is lost
    assert error.value.__cause__ is conflict


def test_a_list_that_fails_before_the_request_sends_nothing(play, refused):
    with pytest.raises(BadRequestError):
        play(create(CONFIG), (LIST, refused(400)))


@pytest.mark.parametrize(
    ("retries", "ending"),
    [
        (0, [(POST, "lost"), (Sleep(0.5), None), (LIST, {"data": [OLD]})]),
        (0, [(POST, 500), (Sleep(0.5), None), (LIST, {"data": [OLD]})]),
        (0, [(POST, 408), (Sleep(0.5), None), (LIST, 400)]),
        (0, [(POST, "lost"), (Sleep(0.5), "late")]),
        (2, [(POST, b"<html>"), (Sleep(0.5), None), (LIST, {"data": [OLD]})]),
        (2, [(POST, {}), (Sleep(0.5), None), (LIST, {"data": [OLD]})]),
        (2, [(POST, "lost"), (Sleep(0.5), None), (LIST, {"data": [OLD]}), (POST, 400)]),
        (1, [(POST, "lost"), (Sleep(0.5), None), (LIST, {"data": [OLD]}), (POST, 429)]),
        (2, [(POST, "lost"), (Sleep(0.5), None), (LIST, {"data": [OLD]}), (POST, 429), (Sleep(1.0), "late")]),
    ],
)
def test_a_failure_that_may_have_made_a_job_says_once_where_to_look(play, notes, dropped, refused, retries, ending):
    ledger = notes(retries=retries)
    with pytest.raises(APIError) as error:
        play(create(CONFIG), *START, *_with_errors(ending, dropped, refused), notes=ledger)
    assert str(error.value).endswith(ADVICE)
    assert str(error.value).count("a job may exist") == 1
    assert ledger.entries == [ASKED]


@pytest.mark.parametrize(
    ("retries", "ending"),
    [
        (2, [(POST, 400)]),
        (0, [(POST, 429)]),
        (0, [(POST, "not sent")]),
        (2, [(POST, 429), (Sleep(0.5), "late")]),
    ],
)
def test_a_failure_that_made_no_job_does_not_speak_of_one(play, notes, dropped, refused, retries, ending):
    with pytest.raises(APIError) as error:
        play(create(CONFIG), *START, *_with_errors(ending, dropped, refused), notes=notes(retries=retries))
    assert "a job may exist" not in str(error.value)


def _with_errors(script, dropped, refused):
    named = {"lost": dropped(), "not sent": dropped(ambiguous=False), "late": too_late()}
    for step, answer in script:
        if isinstance(answer, int):
            yield step, refused(answer)
        else:
            yield step, named[answer] if isinstance(answer, str) else answer


# the ledger


def test_the_ledger_is_written_before_the_request_and_after_its_answer(play):
    assert play(create(CONFIG), *START, (POST, ECHO)).steps == [
        LIST,
        Token(),
        Record(ASKED),
        Retries(),
        POST,
        Claim("ft-new", CREATED),
    ]


def test_the_ledger_is_read_anew_before_a_job_is_adopted(play, dropped):
    played = play(create(CONFIG), *START, (POST, dropped()), (Sleep(0.5), None), (LIST, {"data": [ECHO, OLD]}))
    after_the_failure = [Sleep(0.5), LIST, Recorded(), Claim("ft-new", ADOPTED)]
    assert played.steps == [LIST, Token(), Record(ASKED), Retries(), POST, *after_the_failure]


def test_a_refusal_is_noted(play, notes, refused):
    ledger = notes()
    with pytest.raises(BadRequestError):
        play(create(CONFIG), *START, (POST, refused(400)), notes=ledger)
    assert ledger.entries == [ASKED, REFUSED]


@pytest.mark.parametrize("cut_off", [KeyboardInterrupt(), GeneratorExit()])
def test_a_call_that_is_interrupted_has_no_end_in_the_ledger(play, notes, cut_off):
    ledger = notes()
    with pytest.raises(type(cut_off)):
        play(create(CONFIG), *START, (POST, cut_off), notes=ledger)
    assert ledger.entries == [ASKED]


def test_a_call_whose_answer_was_lost_for_good_has_no_end_in_the_ledger(play, notes, dropped):
    ledger = notes(retries=0)
    with pytest.raises(APIConnectionError):
        play(create(CONFIG), *START, (POST, dropped()), (Sleep(0.5), None), (LIST, {"data": [OLD]}), notes=ledger)
    assert ledger.entries == [ASKED]


def test_a_refusal_after_an_answer_that_was_lost_is_no_end(play, notes, dropped, refused):
    ledger = notes()
    lost = [(POST, dropped()), (Sleep(0.5), None), (LIST, {"data": [OLD]})]
    with pytest.raises(BadRequestError):
        play(create(CONFIG), *START, *lost, (POST, refused(400)), notes=ledger)
    assert ledger.entries == [ASKED]


@pytest.mark.parametrize(
    ("ending", "written"),
    [
        ([(POST, ECHO)], [ASKED, CREATED]),
        ([(POST, b""), (Sleep(0.5), None), (LIST, {"data": [ECHO]})], [ASKED, ADOPTED]),
    ],
)
def test_no_key_of_another_service_is_written_down(play, notes, ending, written):
    ledger = notes()
    play(
        create(CONFIG.replace(wandb_key="canary-1", hf_api_token="canary-2")),
        *_start_with_canaries(ending),
        notes=ledger,
    )
    assert ledger.entries == written
    assert "canary" not in repr(ledger.entries)


def _start_with_canaries(ending):
    body = CONFIG.to_wire() | {"wandb_key": "canary-1", "hf_api_token": "canary-2"}
    post = Request("POST", "/fine-tunes", json=body, headers=POST.headers, retry=False)
    return [*START, *((post if step == POST else step, answer) for step, answer in ending)]


# a key that the caller chose

KEYED = Request("POST", "/fine-tunes", json=CONFIG.to_wire(), headers={"idempotency-key": "mine"}, retry=False)
ASKED_BY_KEY = ASKED | {"key": "mine"}


def test_a_first_call_with_a_key_asks_with_it(play, notes):
    ledger = notes()
    played = play(create(CONFIG, idempotency_key="mine"), (LIST, {"data": [OLD]}), (KEYED, ECHO), notes=ledger)
    assert played.result == FineTuneJob(**ECHO)
    assert ledger.entries == [ASKED_BY_KEY, CREATED | {"key": "mine"}]


def test_a_key_is_held_before_anything_is_looked_for(play):
    played = play(create(CONFIG, idempotency_key="mine"), (LIST, {"data": [OLD]}), (KEYED, ECHO))
    created = Claim("ft-new", CREATED | {"key": "mine"})
    assert played.steps == [Hold("mine"), Recorded(), LIST, Record(ASKED_BY_KEY), Retries(), KEYED, created]


def test_a_call_with_a_key_waits_while_another_call_holds_it(notes):
    flow = create(CONFIG, idempotency_key="mine")
    assert next(flow) == Hold("mine")
    for _ in range(3):
        assert flow.send(None) == Sleep(0.1)
        assert flow.send(None) == Hold("mine")
    ledger = notes()
    assert flow.send(ledger.answer(Hold("mine"))) == Recorded()
    assert ledger.held == {"mine"}
    flow.close()


def test_a_call_that_is_interrupted_while_it_waits_lets_go_of_nothing(play, notes):
    ledger = notes()
    ledger.held.add("mine")
    with pytest.raises(KeyboardInterrupt):
        play(create(CONFIG, idempotency_key="mine"), (Sleep(0.1), KeyboardInterrupt()), notes=ledger)
    assert ledger.held == {"mine"}


@pytest.mark.parametrize("past", [[], [ASKED_BY_KEY, CREATED | {"key": "mine"}]])
def test_a_key_is_let_go_when_its_job_is_there(play, notes, past):
    ledger = notes(*past)
    script = [(Request("GET", "/fine-tunes/ft-new"), ECHO)] if past else [(LIST, {"data": [OLD]}), (KEYED, ECHO)]
    assert play(create(CONFIG, idempotency_key="mine"), *script, notes=ledger).result == FineTuneJob(**ECHO)
    assert ledger.held == set()


@pytest.mark.parametrize("cut_off", [KeyboardInterrupt(), GeneratorExit(), too_late(), RuntimeError()])
@pytest.mark.parametrize("ahead", [0, 1])
def test_a_key_is_let_go_whatever_ends_its_call(play, notes, cut_off, ahead):
    ledger, script = notes(retries=0), [(LIST, {"data": [OLD]}), (KEYED, None)]
    script[ahead] = (script[ahead][0], cut_off)
    if ahead and isinstance(cut_off, APIError):
        script += [(Sleep(0.5), None), (LIST, {"data": []})]
    with pytest.raises(type(cut_off)):
        play(create(CONFIG, idempotency_key="mine"), *script[: ahead + 1], *script[2:], notes=ledger)
    assert ledger.held == set()


def test_a_key_is_let_go_after_a_refusal_and_a_configuration_or_price_that_does_not_fit(play, notes, refused):
    ledger = notes()
    with pytest.raises(BadRequestError):
        play(create(CONFIG, idempotency_key="mine"), (LIST, {"data": []}), (KEYED, refused(400)), notes=ledger)
    price = [(Now(), 0.0), (ESTIMATE, {"estimated_total_price": 4.5})]
    with pytest.raises(ConfigError, match="max_price"):
        play(create(CONFIG, idempotency_key="mine", max_price=4), *price, notes=ledger)
    ledger.entries.append(ASKED_BY_KEY)
    with pytest.raises(ConfigError, match="take another key"):
        play(create(CONFIG.replace(n_epochs=2), idempotency_key="mine"), notes=ledger)
    assert ledger.held == set()


def test_a_key_is_let_go_when_its_flow_is_closed(notes):
    ledger, flow = notes(), create(CONFIG, idempotency_key="mine")
    flow.send(None)
    flow.send(ledger.answer(Hold("mine")))
    flow.close()
    assert ledger.held == set()


@pytest.mark.parametrize("event", ["created", "adopted"])
def test_a_second_call_with_a_key_returns_the_first_ones_job_and_asks_for_no_price(play, notes, event):
    ledger = notes(ASKED_BY_KEY, {"event": event, "key": "mine", "job": "ft-new"})
    flow = create(CONFIG, idempotency_key="mine", max_price=1)
    played = play(flow, (Request("GET", "/fine-tunes/ft-new"), ECHO), notes=ledger)
    assert played.result == FineTuneJob(**ECHO)
    assert len(ledger.entries) == 2


def test_a_second_call_with_a_key_finds_the_job_of_a_first_one_that_never_saw_its_answer(play, notes):
    ledger = notes(ASKED_BY_KEY)
    flow = create(CONFIG, idempotency_key="mine")
    assert play(flow, (LIST, {"data": [ECHO, OLD]}), notes=ledger).result == FineTuneJob(**ECHO)
    assert ledger.entries == [ASKED_BY_KEY, ADOPTED | {"key": "mine"}]


@pytest.mark.parametrize("past", [[ASKED_BY_KEY], [ASKED_BY_KEY, REFUSED | {"key": "mine"}]])
def test_a_second_call_with_a_key_asks_again_when_the_first_made_no_job(play, notes, past):
    ledger = notes(*past)
    search = [] if past[1:] else [(LIST, {"data": [OLD]})]
    flow = create(CONFIG, idempotency_key="mine")
    played = play(flow, *search, (LIST, {"data": [OLD]}), (KEYED, ECHO), notes=ledger)
    assert played.result == FineTuneJob(**ECHO)
    assert ledger.entries == [*past, ASKED_BY_KEY, CREATED | {"key": "mine"}]


def test_a_second_call_with_a_key_asks_again_when_the_first_ones_job_was_deleted(play, notes, refused):
    ledger = notes(ASKED_BY_KEY, CREATED | {"key": "mine"})
    gone = (Request("GET", "/fine-tunes/ft-new"), refused(404))
    flow = create(CONFIG, idempotency_key="mine")
    played = play(flow, gone, (LIST, {"data": []}), (KEYED, ECHO | {"id": "ft-2"}), notes=ledger)
    assert played.result.id == "ft-2"


@pytest.mark.parametrize("key", ["", " a", "a\nb", "größe", "k" * 256])
def test_a_key_that_no_header_can_hold_is_refused_before_anything_is_asked(key):
    with pytest.raises(ConfigError, match=r"^idempotency_key: expected printable ASCII of 1 to 255 characters, found"):
        next(create(CONFIG, idempotency_key=key))


@pytest.mark.parametrize("past", [[], [CREATED | {"key": "mine"}]])
def test_a_key_with_another_body_is_refused_by_the_names_of_what_differs(play, notes, past):
    config = CONFIG.replace(n_epochs=2, learning_rate=2e-5, random_seed=7)
    with pytest.raises(ConfigError) as error:
        play(create(config, idempotency_key="mine"), notes=notes(ASKED_BY_KEY, *past))
    assert str(error.value) == (
        "idempotency_key: 'mine' was used for a job with another learning_rate, n_epochs, random_seed; take another key"
    )


def test_another_key_of_another_service_is_no_other_body(play, notes):
    ledger = notes(ASKED_BY_KEY, CREATED | {"key": "mine"})
    flow = create(CONFIG.replace(wandb_key="rotated"), idempotency_key="mine")
    assert play(flow, (Request("GET", "/fine-tunes/ft-new"), ECHO), notes=ledger).result == FineTuneJob(**ECHO)


# the price


def test_a_job_at_most_as_dear_as_allowed_is_created(play):
    price = {"estimation_available": True, "allowed_to_proceed": True, "estimated_total_price": 4.5}
    played = play(create(CONFIG, max_price=4.5), (Now(), 0.0), (ESTIMATE, price), *START, (POST, ECHO))
    assert played.result == FineTuneJob(**ECHO)


def test_nothing_is_asked_for_or_written_down_above_the_price(play, notes):
    ledger = notes()
    with pytest.raises(ConfigError) as error:
        play(create(CONFIG, max_price=4), (Now(), 0.0), (ESTIMATE, {"estimated_total_price": 4.5}), notes=ledger)
    assert str(error.value) == (
        "max_price: expected at most $4.00, found an estimate of $4.50; raise max_price, or train on less: "
        "fewer epochs, fewer evaluations, fewer pairs"
    )
    assert ledger.entries == []


# identical calls at once


class Shared:
    """One server and one ledger that identical calls share; each call takes a step when it is told to."""

    def __init__(self, notes, names="AB", key=None):
        self.notes, self.jobs = notes(), []
        self.faults = {}  # name of a call: how its next request ends
        self.calls = {name: self.call(name, key) for name in names}

    def call(self, name, key):
        flow = create(CONFIG, idempotency_key=key)
        step = next(flow)
        while True:
            try:
                answer = self.answer(step, name)
            except APIConnectionError as error:
                step = flow.throw(error)
            else:
                try:
                    step = flow.send(answer)
                except StopIteration as end:
                    yield end.value.id
                    return
            yield step

    def answer(self, step, name):
        if step == Token():
            return name
        if step == LIST:
            return respond(step, {"data": [*self.jobs]})
        if isinstance(step, Request) and step.method == "GET":
            return respond(step, next(job for job in self.jobs if step.path.endswith(job["id"])))
        if isinstance(step, Request):
            fault = self.faults.pop(name, None)
            if fault != "not arrived":
                self.jobs.insert(0, ECHO | {"id": f"ft-{len(self.jobs) + 1}"})
            if fault:
                raise APIConnectionError("dropped", method="POST", path="/fine-tunes", ambiguous=True)
            return respond(step, self.jobs[0])
        return self.notes.answer(step)

    def until(self, name, kind):
        """Take one call's steps until it wants one of a kind."""
        return next(step for step in self.calls[name] if isinstance(step, kind))

    def finish(self, name):
        """Take one call's steps until its end; return its job."""
        return [*self.calls[name]][-1]


def respond(step, value):
    return Response(200, {}, json.dumps(value).encode(), step)


@pytest.fixture
def shared(notes):
    """Two calls that have both read the list and noted what they ask for."""
    shared = Shared(notes)
    for name in "AB":
        shared.until(name, Retries)
    return shared


@pytest.mark.parametrize(("fault", "jobs"), [("lost", ("ft-1", "ft-2")), ("not arrived", ("ft-2", "ft-1"))])
def test_a_job_that_another_call_has_is_not_adopted(shared, fault, jobs):
    shared.faults["A"] = fault
    shared.until("A", Sleep)
    other = shared.finish("B")
    assert (shared.finish("A"), other) == jobs


@pytest.mark.parametrize(("first", "arrived"), [*product(["AB", "BA"], "AB")])
def test_of_two_calls_that_find_one_job_the_first_to_claim_it_has_it(shared, first, arrived):
    shared.faults = {name: "lost" if name == arrived else "not arrived" for name in "AB"}
    for kind in (Sleep, Claim):
        for name in "AB":
            shared.until(name, kind)
    assert [shared.finish(name) for name in first] == ["ft-1", "ft-2"]


@pytest.mark.parametrize("first", ["AB", "BA"])
def test_two_jobs_whose_answers_were_both_lost_are_told_apart_by_nobody(shared, first):
    shared.faults = {"A": "lost", "B": "lost"}
    for name in "AB":
        shared.until(name, Sleep)
    for name in first:
        with pytest.raises(ConflictError, match="ft-2 and ft-1 both look like this job"):
            shared.finish(name)


@pytest.mark.parametrize("fault", [None, "lost", "not arrived"])
@pytest.mark.parametrize("seed", range(10))
def test_calls_at_once_with_one_key_make_one_job_on_a_server_that_ignores_the_key(notes, seed, fault):
    shared, chance, results = Shared(notes, "ABC", key="mine"), random.Random(seed), {}
    if fault:
        shared.faults = dict.fromkeys("ABC", fault)
    while len(results) < 3:
        name = chance.choice([name for name in "ABC" if name not in results])
        step = next(shared.calls[name])
        if isinstance(step, str):  # the id of its job: the end
            results[name] = step
    assert (results, [job["id"] for job in shared.jobs]) == (dict.fromkeys("ABC", "ft-1"), ["ft-1"])
    assert shared.notes.held == set()


# arguments


def test_a_configuration_and_keywords_exclude_each_other(play):
    with pytest.raises(ConfigError) as error:
        play(create(CONFIG, n_epochs=2, suffix="x"))
    assert str(error.value) == (
        "config: expected a JobConfig or keywords, found both (n_epochs, suffix); use config.replace()"
    )


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"model": "m"}, "config: training_file is missing; upload one: client.files.upload(path).id"),
        ({"model": "m", "n_epoch": 1}, "config: JobConfig has no field 'n_epoch'; did you mean 'n_epochs'?"),
        (
            {"model": "m", "training_file": "t", "n_evals": 3},
            "config: n_evals is 3, but there is no validation_file to evaluate on; give one, or set n_evals to 0",
        ),
        (
            {},
            (
                "config: expected exactly one of model and from_checkpoint, found neither; "
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
