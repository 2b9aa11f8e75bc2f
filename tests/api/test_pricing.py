import math
from itertools import pairwise

import pytest

from preftune.api.config import DPO, JobConfig, LoRA
from preftune.api.models import PriceEstimate
from preftune.api.pricing import affordable, estimate_price
from preftune.api.steps import Now, Request, Sleep
from preftune.errors import APITimeoutError, ConfigError, InternalServerError

PATH = "/fine-tunes/estimate-price"
CONFIG = JobConfig(model="m", training_file="t")
BODY = {
    "training_file": "t",
    "validation_file": "",
    "model": "m",
    "from_checkpoint": "",
    "n_epochs": 1,
    "n_evals": 0,
    "training_method": {"method": "sft", "train_on_inputs": "auto"},
    "training_type": None,
}
ASK = Request("POST", PATH, json=BODY)
PENDING = {"estimation_available": False, "unavailable_reason": "training_file_not_validated"}


def price(dollars, **more):
    return {"estimation_available": True, "allowed_to_proceed": True, "estimated_total_price": dollars, **more}


# estimate_price


@pytest.mark.parametrize(
    ("config", "body"),
    [
        (CONFIG, BODY),
        (
            JobConfig(
                from_checkpoint="ft-1:3",
                training_file="t",
                validation_file="v",
                n_epochs=2,
                n_evals=5,
                training_method=DPO(),
                training_type=LoRA(lora_r=4),
            ),
            {
                "training_file": "t",
                "validation_file": "v",
                "model": "",
                "from_checkpoint": "ft-1:3",
                "n_epochs": 2,
                "n_evals": 5,
                "training_method": {
                    "method": "dpo",
                    "dpo_beta": 0.1,
                    "dpo_normalize_logratios_by_length": False,
                    "dpo_reference_free": False,
                },
                "training_type": {
                    "type": "Lora",
                    "lora_r": 4,
                    "lora_dropout": 0.0,
                    "lora_trainable_modules": "all-linear",
                },
            },
        ),
    ],
)
def test_a_price_is_asked_for_with_what_decides_it(play, config, body):
    answer = {"estimation_available": True, "estimated_total_price": 4.5}
    played = play(estimate_price(config), (Request("POST", PATH, json=body), answer))
    assert played.result == PriceEstimate(estimation_available=True, estimated_total_price=4.5)


@pytest.mark.parametrize(
    "flow",
    [estimate_price(model="m", training_file="t"), estimate_price({"model": "m", "training_file": "t"})],
    ids=["keywords", "dict"],
)
def test_a_price_is_asked_for_with_keywords_and_with_a_dict_too(play, flow):
    assert play(flow, (ASK, price(4.5))).result == PriceEstimate(**price(4.5))


def test_a_price_without_a_file_is_not_asked_for(play):
    with pytest.raises(ConfigError, match="config: training_file is missing"):
        play(estimate_price(model="m"))


def test_a_price_that_is_not_known_yet_is_an_answer(play):
    assert play(estimate_price(CONFIG), (ASK, PENDING)).result.is_pending


# affordable


@pytest.mark.parametrize(
    "answer",
    [
        price(4.5),
        price(0),
        {"estimated_total_price": 4.5, "allowed_to_proceed": True, "user_limit": 100},
        price(4.5, unavailable_reason=""),
    ],
    ids=["usual", "free", "without estimation_available", "empty reason"],
)
def test_an_estimate_of_at_most_the_price_is_returned(play, answer):
    played = play(affordable(CONFIG, 4.5), (Now(), 0.0), (ASK, answer))
    assert played.result == PriceEstimate(**answer)


NO_ESTIMATE = "max_price: expected an estimate, found none ({}); mend that, or create the job without max_price"
TOO_DEAR = (
    "max_price: expected at most {}, found an estimate of {}; raise max_price, or train on less: fewer epochs, "
    "fewer evaluations, fewer pairs"
)
NOT_ALLOWED = (
    "max_price: the estimate of $1,234.50 is more than the account allows ({}); "
    "raise the limit in the provider's settings"
)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({}, NO_ESTIMATE.format("the server gave no price")),
        ({"estimation_available": False}, NO_ESTIMATE.format("the server gave no price")),
        ({"estimation_available": True}, NO_ESTIMATE.format("the server gave no price")),
        *(
            ({"estimation_available": False, "unavailable_reason": reason}, NO_ESTIMATE.format(reason))
            for reason in ("training_file_invalid", "validation_file_invalid", "multimodal_dataset", "a_new_one")
        ),
        (
            {"estimation_available": False, "estimated_total_price": 0, "unavailable_reason": "multimodal_dataset"},
            NO_ESTIMATE.format("multimodal_dataset"),
        ),
        ({"estimated_total_price": "ask us"}, NO_ESTIMATE.format("the server gave no price")),
        ({"estimated_total_price": math.nan}, NO_ESTIMATE.format("the server gave no price")),
        (price(2000.5), TOO_DEAR.format("$2,000.00", "$2,000.50")),
        (price(123456), TOO_DEAR.format("$2,000.00", "$123,456.00")),
        (price(123456) | {"allowed_to_proceed": False}, TOO_DEAR.format("$2,000.00", "$123,456.00")),
        (price(1234.5, user_limit=1000) | {"allowed_to_proceed": False}, NOT_ALLOWED.format("$1,000.00")),
        (price(1234.5) | {"allowed_to_proceed": False}, NOT_ALLOWED.format("no limit is stated")),
        (price(1234.5, user_limit="low") | {"allowed_to_proceed": False}, NOT_ALLOWED.format("no limit is stated")),
    ],
)
def test_any_other_estimate_is_refused_in_one_sentence(play, answer, sentence):
    with pytest.raises(ConfigError) as error:
        play(affordable(CONFIG, 2000), (Now(), 0.0), (ASK, answer))
    assert str(error.value) == sentence


def test_no_price_is_at_most_one_that_is_no_number(play):
    with pytest.raises(ConfigError, match="expected at most \\$nan"):
        play(affordable(CONFIG, math.nan), (Now(), 0.0), (ASK, price(1)))


def test_an_estimate_is_waited_for_while_a_file_is_being_read(play):
    validation = PENDING | {"unavailable_reason": "validation_file_not_validated"}
    played = play(
        affordable(CONFIG, 5),
        (Now(), 0.0),
        (ASK, PENDING),
        (Now(), 1.0),
        (Sleep(0.05), None),
        (ASK, validation),
        (Now(), 2.0),
        (Sleep(0.05 * 1.5), None),
        (ASK, price(4.5)),
    )
    assert played.result == PriceEstimate(**price(4.5))


def test_the_pauses_grow_and_the_wait_ends_after_an_hour(world):
    place = world(answered)
    with pytest.raises(APITimeoutError) as error:
        place.run(affordable(CONFIG, 5))
    assert str(error.value) == (
        "POST /fine-tunes/estimate-price: expected the files to be read within 3600 s, found "
        "training_file_not_validated; look at them with client.files.retrieve()"
    )
    assert 3600 <= place.now < 3610
    assert all(before <= after for before, after in pairwise(place.slept))
    assert (place.slept[0], place.slept[-1]) == (0.05, 10.0)


def answered(request):
    assert request == ASK
    return PENDING


def test_an_estimate_that_fails_is_no_permission(play, refused):
    with pytest.raises(InternalServerError):
        play(affordable(CONFIG, 5), (Now(), 0.0), (ASK, refused(500)))
