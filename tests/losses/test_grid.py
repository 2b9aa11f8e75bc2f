import json
import math

import array_api_strict as xps
import numpy as np
import pytest

from preftune.losses import DPO, Sensitivity, gradient_weights, preference_gradients, preference_loss, sensitivity

# Log-ratio differences of -10, 0, 10 and 40 nats: with beta 0.1 z is -1, 0, 1 and 4.
LOGPS = {
    "policy_chosen_logps": [-30.0, -20.0, -10.0, -5.0],
    "policy_rejected_logps": [-20.0, -20.0, -20.0, -45.0],
    "reference_chosen_logps": [0.0, 0.0, 0.0, 0.0],
    "reference_rejected_logps": [0.0, 0.0, 0.0, 0.0],
}
LENGTHS = {"chosen_lengths": [10, 10, 10, 10], "rejected_lengths": [10, 10, 10, 10]}
WEIGHTS = {beta: [1 / (1 + math.exp(beta * d)) for d in (-10, 0, 10, 40)] for beta in (0.1, 1.0)}


def test_a_setting_by_hand():
    (found,) = sensitivity(LOGPS, [DPO(dpo_beta=0.1)]).settings
    softplus = [math.log1p(math.exp(z)) for z in (1, 0, -1, -4)]
    assert found.method == DPO(dpo_beta=0.1)
    assert found.loss == pytest.approx(sum(softplus) / 4)
    assert found.accuracy == 0.5  # the tie is a miss
    assert found.margin == pytest.approx((-1 + 0 + 1 + 4) / 4)
    # gradient weights 0.731, 0.5, 0.269 and 0.018
    assert found.median_weight == pytest.approx((0.5 + WEIGHTS[0.1][2]) / 2)
    assert found.learned == 0.25
    assert found.top_share == pytest.approx(WEIGHTS[0.1][0] / sum(WEIGHTS[0.1]))  # a tenth of four pairs is one
    assert found.dominant == (0, 1, 2, 3)
    assert found.alive


def test_where_the_median_pair_is_learned_the_setting_is_not_alive():
    (found,) = sensitivity(LOGPS, [DPO(dpo_beta=1.0)]).settings
    assert (found.learned, found.alive) == (0.5, True)  # 1, 0.5, 5e-5 and 0: the median is 0.25
    learned = LOGPS | {"policy_chosen_logps": [-30.0, 0.0, 0.0, 0.0]}
    (found,) = sensitivity(learned, [DPO(dpo_beta=1.0)]).settings
    assert found.median_weight == pytest.approx(1 / (1 + math.exp(20)))
    assert (found.learned, found.alive) == (0.75, False)


def test_the_largest_beta_that_keeps_the_median_pair_alive():
    learned = LOGPS | {"policy_chosen_logps": [0.0, 0.0, 0.0, 0.0]}  # differences 20, 20, 20 and 45
    found = sensitivity(learned, {"dpo_beta": [0.05, 0.1, 0.2, 0.01]})
    # weights of the median: 1 / (1 + e), 1 / (1 + e**2) = 0.119, 1 / (1 + e**4) = 0.018
    assert [each.alive for each in found.settings] == [True, True, False, True]
    assert found.largest_alive_beta == 0.1
    assert str(found).endswith("largest beta that keeps the median pair alive (median 0.1 or more): 0.1")


def test_no_beta_may_keep_the_median_pair_alive():
    learned = LOGPS | {"policy_chosen_logps": [0.0] * 4}
    found = sensitivity(learned, {"dpo_beta": [1.0, 2.0]})
    assert found.largest_alive_beta is None
    assert str(found).endswith("largest beta that keeps the median pair alive (median 0.1 or more): none here")


def test_the_dominant_pairs_are_those_with_the_largest_pull_ten_at_most():
    differences = np.linspace(-30, 30, 28)[np.random.default_rng(2).permutation(28)]
    logps = {"policy_chosen_logps": differences, "policy_rejected_logps": np.zeros(28)}
    (found,) = sensitivity(logps, [DPO(dpo_reference_free=True)]).settings
    assert found.dominant == tuple(np.argsort(differences)[:10].tolist())
    pulls = np.sort(gradient_weights(**logps, method=DPO(dpo_reference_free=True)))[::-1]
    assert found.top_share == pytest.approx(pulls[:3].sum() / pulls.sum())  # a tenth of 28 is about 3


def test_pairs_of_the_same_pull_are_named_in_their_order():
    alternating = {name: [-8.0] * 500 for name in LOGPS} | {"policy_chosen_logps": [-8.0, -9.0] * 250}
    (found,) = sensitivity(alternating, [DPO()]).settings
    assert found.dominant == tuple(range(1, 20, 2))


def test_short_answers_pull_harder_where_the_loss_is_per_token():
    same = {name: [-8.0, -8.0, -8.0] for name in LOGPS}
    lengths = {"chosen_lengths": [8, 1, 4], "rejected_lengths": [8, 1, 4]}
    method = DPO(dpo_beta=2.0, dpo_normalize_logratios_by_length=True)
    (found,) = sensitivity(same | lengths, [method]).settings
    assert found.dominant == (1, 2, 0)
    assert found.top_share == pytest.approx(1 / (1 + 1 / 4 + 1 / 8))


def test_weights_count_for_pull_and_loss_and_not_for_what_is_learned():
    (plain,) = sensitivity(LOGPS, [DPO()]).settings
    (found,) = sensitivity(LOGPS | {"weights": [0.0, 1.0, 0.1, 100.0]}, [DPO()]).settings
    assert (found.learned, found.median_weight) == (plain.learned, plain.median_weight)
    assert found.dominant == (3, 1, 2, 0)
    losses = preference_loss(**LOGPS, weights=[0.0, 1.0, 0.1, 100.0])
    assert found.loss == float(losses.mean)


def test_pairs_that_do_not_pull_at_all_have_no_share():
    (found,) = sensitivity(LOGPS | {"weights": [0.0] * 4}, [DPO()]).settings
    assert (found.top_share, found.dominant) == (0.0, (0, 1, 2, 3))


def test_a_mapping_is_combined_in_its_order_and_the_rest_is_the_method():
    method = DPO(rpo_alpha=0.25, dpo_reference_free=True)
    found = sensitivity(LOGPS | LENGTHS, {"dpo_beta": [0.2, 0.1], "rpo_alpha": [0, 1]}, method=method)
    assert [each.method for each in found.settings] == [
        DPO(dpo_beta=beta, rpo_alpha=alpha, dpo_reference_free=True) for beta in (0.2, 0.1) for alpha in (0, 1)
    ]


def test_an_iterable_of_methods_is_taken_as_it_comes():
    methods = [DPO(dpo_beta=0.3), DPO(dpo_beta=2.0, simpo_gamma=1.0)]
    assert [each.method for each in sensitivity(LOGPS | LENGTHS, iter(methods)).settings] == methods


@pytest.mark.parametrize(
    ("method", "betas"),
    [
        (DPO(), [0.01, 0.05, 0.1, 0.2, 0.5, 1.0]),
        (DPO(dpo_reference_free=True), [0.01, 0.05, 0.1, 0.2, 0.5, 1.0]),
        (DPO(simpo_gamma=0.5), [0.1, 0.5, 1.0, 2.0, 5.0, 10.0]),
    ],
    ids=["plain", "reference-free", "simpo"],
)
def test_without_a_grid_beta_goes_over_a_range_that_fits_the_method(method, betas):
    found = [each.method for each in sensitivity(LOGPS | LENGTHS, method=method).settings]
    assert found == [method.model_copy(update={"dpo_beta": beta}) for beta in betas]


def test_every_number_is_that_of_the_losses():
    random = np.random.default_rng(4)
    logps = {name: -random.uniform(5, 60, 40) for name in LOGPS}
    lengths = {name: random.integers(1, 30, 40) for name in LENGTHS}
    methods = [DPO(dpo_beta=0.2, rpo_alpha=0.5), DPO(dpo_beta=2.0, simpo_gamma=0.5)]
    for found, method in zip(sensitivity(logps | lengths, methods).settings, methods, strict=True):
        arguments = logps | lengths | {"method": method}
        loss, weights = preference_loss(**arguments), gradient_weights(**arguments)
        pulls = np.sum(np.abs(preference_gradients(**arguments)), axis=0)
        assert (found.loss, found.accuracy, found.margin) == (loss.mean, loss.accuracy, loss.margin)
        assert (found.median_weight, found.learned) == (np.median(weights), np.mean(weights < 0.1))
        assert found.dominant == tuple(np.argsort(-pulls)[:10].tolist())
        assert found.top_share == pytest.approx(np.sort(pulls)[-4:].sum() / pulls.sum())


def test_arrays_of_the_standard_give_the_same_settings():
    arrays = {name: xps.asarray(values) for name, values in LOGPS.items()}
    assert sensitivity(arrays).to_dict() == sensitivity(LOGPS).to_dict()


def test_torch_tensors_with_gradients_give_the_same_settings():
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")
    tensors = {name: torch.tensor(values, dtype=torch.float64, requires_grad=True) for name, values in LOGPS.items()}
    assert sensitivity(tensors).settings[0].dominant == sensitivity(LOGPS).settings[0].dominant
    assert sensitivity(tensors).settings[0].loss == pytest.approx(sensitivity(LOGPS).settings[0].loss)


def test_plain_values_say_all_of_it():
    found = sensitivity(LOGPS, [DPO(dpo_beta=0.1)])
    (setting,) = found.settings
    assert found.to_dict() == {
        "settings": [
            {
                "method": DPO(dpo_beta=0.1).model_dump(),
                "loss": setting.loss,
                "accuracy": 0.5,
                "margin": setting.margin,
                "median_weight": setting.median_weight,
                "learned": 0.25,
                "top_share": setting.top_share,
                "alive": True,
                "dominant": [0, 1, 2, 3],
            }
        ],
        "largest_alive_beta": 0.1,
    }
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict()


def test_the_table_has_a_line_a_setting():
    assert str(sensitivity(LOGPS, [DPO(dpo_beta=0.1), DPO(dpo_beta=1.0)])).splitlines() == [
        "method                                loss  accuracy  median  learned  top 10 %",
        "DPO, beta 0.1                        0.584     50.0%   0.384    25.0%     48.2%",
        "DPO, beta 1                          2.673     50.0%   0.250    50.0%     66.7%",
        "",
        "median: gradient weight of the median pair: 1 wrong, 1/2 at z = 0, 0 learned",
        "learned: pairs of a weight below 0.1, which the update no longer hears",
        "top 10 %: the share of the pull that a tenth of the pairs has",
        "largest beta that keeps the median pair alive (median 0.1 or more): 1",
    ]


LONG = DPO(dpo_beta=0.125, dpo_normalize_logratios_by_length=True, dpo_reference_free=True, rpo_alpha=0.125)


def test_a_long_label_stands_on_a_line_of_its_own_and_the_numbers_below():
    # z is -1/8, 0, 1/8 and 1/2, the NLL an eighth of 1.625; the first pair pulls with 2q + 1 = 2.062 of 7.755
    assert str(sensitivity(LOGPS | LENGTHS, [LONG])).splitlines()[1:3] == [
        "DPO, beta 0.125, per token, no reference, alpha 0.125",
        "                                     0.842     50.0%   0.484     0.0%     26.6%",
    ]


@pytest.mark.parametrize(
    "method",
    [DPO(), DPO(dpo_beta=2.5, simpo_gamma=1.375, rpo_alpha=0.5), LONG],
    ids=lambda method: method.label,
)
def test_the_text_fits_a_terminal(method):
    assert max(map(len, str(sensitivity(LOGPS | LENGTHS, [method])).splitlines())) <= 80


def test_the_html_is_the_text_and_escaped():
    class Odd(Sensitivity):
        def __str__(self) -> str:
            return "<b> & </b>"

    found = sensitivity(LOGPS)
    assert found._repr_html_() == f"<pre>{found}</pre>"
    assert Odd(found.settings)._repr_html_() == "<pre>&lt;b&gt; &amp; &lt;/b&gt;</pre>"


def test_a_missing_argument_is_named():
    with pytest.raises(ValueError, match=r"^chosen_lengths: needed, because the method divides by length; found None$"):
        sensitivity(LOGPS, method=DPO(simpo_gamma=1.0))


def test_a_misspelt_knob_of_the_grid_is_named():
    with pytest.raises(ValueError, match="DPO has no field 'beta'; did you mean 'dpo_beta'"):
        sensitivity(LOGPS, {"beta": [0.1]})


@pytest.mark.parametrize("grid", [[], {}, {"dpo_beta": []}, {"dpo_beta": [0.1], "rpo_alpha": ()}], ids=repr)
def test_a_grid_without_methods_is_refused(grid):
    sentence = r"^grid: expected at least one method, or a value for each knob, found none; leave it out for a range of"
    with pytest.raises(ValueError, match=sentence):
        sensitivity(LOGPS, grid)


@pytest.mark.parametrize("value", [0.1, 1, None, "0.1"])
def test_a_knob_of_the_grid_that_has_no_list_of_values_is_named(value):
    sentence = rf"^grid: expected the values of dpo_beta in a list, such as \[0\.1\], found {value!r}$"
    with pytest.raises(ValueError, match=sentence):
        sensitivity(LOGPS, {"rpo_alpha": [0.0], "dpo_beta": value})


def test_the_values_of_a_knob_may_be_an_array():
    found = sensitivity(LOGPS, {"dpo_beta": np.array([0.5, 0.25])})
    assert [each.method for each in found.settings] == [DPO(dpo_beta=0.5), DPO(dpo_beta=0.25)]
