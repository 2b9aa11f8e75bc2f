import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from preftune.losses import DPO
from preftune.losses.method import unknown_key

FACT = settings(max_examples=60, deadline=None, database=None, derandomize=True)


def messages(error: pytest.ExceptionInfo[ValidationError]) -> list[tuple[tuple[int | str, ...], str]]:
    return [(found["loc"], found["msg"]) for found in error.value.errors()]


def test_defaults_are_plain_dpo():
    assert DPO().model_dump() == {
        "method": "dpo",
        "dpo_beta": 0.1,
        "dpo_normalize_logratios_by_length": False,
        "dpo_reference_free": False,
        "rpo_alpha": 0.0,
        "simpo_gamma": 0.0,
    }


def test_repr_leaves_out_the_method_name():
    assert repr(DPO(dpo_beta=0.2)) == (
        "DPO(dpo_beta=0.2, dpo_normalize_logratios_by_length=False, dpo_reference_free=False, "
        "rpo_alpha=0.0, simpo_gamma=0.0)"
    )


@pytest.mark.parametrize("field", ["dpo_beta", "rpo_alpha", "simpo_gamma"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_knob_that_is_not_finite_is_refused(field, value):
    with pytest.raises(ValidationError) as error:
        DPO(**{field: value})
    assert messages(error) == [((field,), f"must be a finite number, found {value}")]


@pytest.mark.parametrize("value", [0, -0.1])
def test_beta_has_to_be_positive(value):
    with pytest.raises(ValidationError) as error:
        DPO(dpo_beta=value)
    assert messages(error) == [(("dpo_beta",), f"must be greater than 0, found {float(value)}")]


@pytest.mark.parametrize("field", ["rpo_alpha", "simpo_gamma"])
def test_alpha_and_gamma_cannot_be_negative(field):
    with pytest.raises(ValidationError) as error:
        DPO(**{field: -0.5})
    assert messages(error) == [((field,), "must be 0 or more, found -0.5")]


def test_a_misspelt_knob_is_refused_with_the_nearest_name():
    with pytest.raises(ValidationError) as error:
        DPO(simpo_gama=1)
    assert messages(error) == [((), "DPO has no field 'simpo_gama'; did you mean 'simpo_gamma'?")]


def test_a_knob_like_no_other_is_refused_with_all_names():
    with pytest.raises(ValidationError) as error:
        DPO(xyzzy=1)
    assert messages(error) == [
        (
            (),
            f"DPO has no field 'xyzzy'; it has {', '.join(DPO.model_fields)}",
        )
    ]


def test_a_key_that_is_not_text_is_named_too():
    assert unknown_key(7, "Thing", ["size"]) == "Thing has no field '7'; it has size"


def test_something_that_is_no_mapping_is_refused():
    with pytest.raises(ValidationError, match="valid dictionary"):
        DPO.model_validate(["dpo_beta", 0.1])


def test_knobs_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        DPO().dpo_beta = 0.2


@pytest.mark.parametrize(
    ("knobs", "simpo", "normalized", "reference_free"),
    [
        ({}, False, False, False),
        ({"dpo_reference_free": True}, False, False, True),
        ({"dpo_normalize_logratios_by_length": True}, False, True, False),
        ({"dpo_normalize_logratios_by_length": True, "dpo_reference_free": True}, False, True, True),
        ({"simpo_gamma": 0.5}, True, True, True),
        ({"rpo_alpha": 0.5}, False, False, False),
    ],
)
def test_gamma_switches_normalisation_on_and_the_reference_off(knobs, simpo, normalized, reference_free):
    method = DPO(**knobs)
    assert (method.is_simpo, method.is_normalized, method.is_reference_free) == (simpo, normalized, reference_free)


def test_baseline_is_ln_2_without_a_margin():
    assert DPO(dpo_beta=3, rpo_alpha=1).baseline == math.log(2)


def test_baseline_is_softplus_of_gamma_with_a_margin():
    # ln(1 + e**0.5) = ln 2.648721270700128
    assert DPO(simpo_gamma=0.5).baseline == pytest.approx(0.9740769841801067, rel=1e-15)


def test_baseline_of_a_huge_gamma_is_gamma():
    assert DPO(simpo_gamma=1e300).baseline == 1e300


@FACT
@given(st.floats(0, 30))
def test_baseline_agrees_with_the_textbook_softplus(gamma):
    assert DPO(simpo_gamma=gamma).baseline == pytest.approx(math.log(1 + math.exp(gamma)), rel=1e-12)


@pytest.mark.parametrize(
    ("knobs", "label"),
    [
        ({}, "DPO, beta 0.1"),
        ({"dpo_beta": 0.25, "rpo_alpha": 1}, "DPO, beta 0.25, alpha 1"),
        ({"dpo_reference_free": True}, "DPO, beta 0.1, no reference"),
        (
            {"dpo_beta": 5, "dpo_normalize_logratios_by_length": True, "dpo_reference_free": True, "rpo_alpha": 0.5},
            "DPO, beta 5, per token, no reference, alpha 0.5",
        ),
        ({"dpo_beta": 2.5, "simpo_gamma": 1.375}, "SimPO, beta 2.5, gamma 1.375"),
        (
            {"dpo_beta": 2, "simpo_gamma": 1, "dpo_normalize_logratios_by_length": True, "dpo_reference_free": True},
            "SimPO, beta 2, gamma 1",
        ),
    ],
)
def test_a_label_names_what_is_in_force(knobs, label):
    assert DPO(**knobs).label == label


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"dpo_beta": 0.05},
        {"dpo_beta": 0.9},
        {"dpo_beta": 5, "dpo_normalize_logratios_by_length": True},
        {"dpo_beta": 1, "dpo_normalize_logratios_by_length": True},
        {"dpo_beta": 2.5, "simpo_gamma": 1.375},
        {"dpo_beta": 2, "simpo_gamma": 2},
    ],
)
def test_useful_knobs_need_no_advice(knobs):
    assert DPO(**knobs).advice() == []


@pytest.mark.parametrize("beta", [0.01, 2])
def test_advice_on_a_beta_out_of_the_useful_range(beta):
    sentence = (
        f"dpo_beta is {beta:g}; plain DPO is useful from 0.05 to 0.9: lower follows the preferences harder, "
        "higher stays closer to the reference"
    )
    assert DPO(dpo_beta=beta).advice() == [sentence]


def too_small(name: str) -> str:
    return (
        f"dpo_beta is 0.1 with {name}; log-ratios per token are small, so the loss barely moves "
        "below 1; published settings take 2 to 10"
    )


def test_advice_on_a_small_beta_with_length_normalisation():
    assert DPO(dpo_normalize_logratios_by_length=True).advice() == [too_small("length normalisation")]


def test_advice_on_simpo_names_the_small_beta_and_the_wide_margin():
    too_wide = (
        "simpo_gamma / dpo_beta is 5: the margin asks for 5 nats per token; published settings stay between 0.1 and 0.8"
    )
    assert DPO(simpo_gamma=0.5).advice() == [too_small("SimPO"), too_wide]
