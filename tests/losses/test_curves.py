import math
import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from preftune.charts.svg import COLOURS
from preftune.losses import DPO, Curves, curve

SVG = "{http://www.w3.org/2000/svg}"
PLAIN = DPO(dpo_beta=0.1)
NORMALIZED = DPO(dpo_beta=5.0, dpo_normalize_logratios_by_length=True)
SIMPO = DPO(dpo_beta=2.0, simpo_gamma=1.0)


def test_losses_and_slopes_by_hand():
    found = curve(PLAIN, DPO(dpo_beta=0.5), differences=[-10, 0, 10])
    assert isinstance(found, Curves)
    assert found.methods == (PLAIN, DPO(dpo_beta=0.5))
    np.testing.assert_array_equal(found.differences, [-10.0, 0.0, 10.0])
    # softplus of 1, 0, -1 and of 5, 0, -5
    losses = [
        [1.3132616875182228, math.log(2), 0.3132616875182228],
        [5.006715348489118, math.log(2), 0.006715348489118],
    ]
    np.testing.assert_allclose(found.losses, losses, rtol=1e-12)
    # -beta / (1 + exp(z)) for z of -1, 0, 1 and of -5, 0, 5
    slopes = [
        [-0.07310585786300049, -0.05, -0.02689414213699951],
        [-0.4966535745378576, -0.25, -0.003346425462142403],
    ]
    np.testing.assert_allclose(found.slopes, slopes, rtol=1e-12)


def test_with_simpo_the_difference_is_per_token_and_the_margin_shifts_the_curve():
    found = curve(SIMPO, differences=[0.5, 0.0])
    np.testing.assert_allclose(found.losses, [[math.log(2), SIMPO.baseline]], rtol=1e-14)
    np.testing.assert_allclose(found.slopes, [[-1.0, -2 / (1 + math.exp(-1))]], rtol=1e-14)


def test_the_nll_term_is_left_out_since_it_does_not_depend_on_the_difference():
    found, bare = curve(DPO(rpo_alpha=1.0), differences=[-3, 3]), curve(DPO(), differences=[-3, 3])
    np.testing.assert_array_equal(found.losses, bare.losses)
    np.testing.assert_array_equal(found.slopes, bare.slopes)
    assert found.methods == (DPO(rpo_alpha=1.0),)


@pytest.mark.parametrize(
    "method", [PLAIN, NORMALIZED, SIMPO, DPO(dpo_reference_free=True)], ids=lambda each: each.label
)
def test_the_slope_is_that_of_the_loss(method):
    found = curve(method)
    middle = (found.losses[0, 2:] - found.losses[0, :-2]) / (found.differences[2:] - found.differences[:-2])
    np.testing.assert_allclose(found.slopes[0, 1:-1], middle, atol=2e-3 * method.dpo_beta)


def test_without_differences_every_method_is_seen_from_wrong_to_learned():
    methods = PLAIN, DPO(dpo_beta=0.5), DPO(dpo_beta=1.0)
    found = curve(*methods)
    assert found.differences.shape == (241,)
    assert (found.differences[0], found.differences[-1]) == (-60.0, 60.0)  # 6 / 0.1
    for method, slopes in zip(methods, found.slopes, strict=True):
        assert slopes[0] == pytest.approx(-method.dpo_beta, rel=0.003)
        assert slopes[-1] == pytest.approx(0, abs=0.003 * method.dpo_beta)
    assert curve(SIMPO).differences[[0, -1]].tolist() == [-2.5, 3.5]  # (1 - 6) / 2 and (1 + 6) / 2


def test_the_two_panels_are_the_loss_and_its_slope():
    loss, slope = curve(PLAIN, differences=[0, 1]).panels()
    assert (loss.title, slope.title) == ("loss", "slope of the loss")
    assert (loss.baseline, slope.baseline) == (("nothing learned", math.log(2)), ("no pull", 0.0))
    assert {loss.x_label, slope.x_label} == {"log-ratio difference, nats"}
    assert [series.name for panel in (loss, slope) for series in panel.series] == ["DPO, beta 0.1"] * 2
    assert [series.points[0] for series in (*loss.series, *slope.series)] == [(0.0, math.log(2)), (0.0, -0.05)]


def test_several_methods_have_no_baseline_in_common_and_per_token_axes_say_so():
    loss, slope = curve(NORMALIZED, SIMPO).panels()
    assert (loss.baseline, slope.baseline) == (None, ("no pull", 0.0))
    assert {loss.x_label, slope.x_label} == {"log-ratio difference, nats per token"}
    assert [series.name for series in loss.series] == ["DPO, beta 5, per token", "SimPO, beta 2, gamma 1"]


def test_the_pictures_are_two_well_formed_elements_of_svg():
    found = curve(PLAIN, DPO(dpo_beta=0.5))
    root = ET.fromstring(f"<div>{found.svg()}</div>")
    pictures = list(root)
    assert [picture.tag for picture in pictures] == [f"{SVG}svg"] * 2
    assert [picture.find(f"{SVG}title").text for picture in pictures] == ["loss", "slope of the loss"]
    for picture in pictures:
        lines = [line for line in picture.findall(f"{SVG}path") if line.get("stroke") in COLOURS]
        assert [len(line.get("d").split("L")) for line in lines] == [241, 241]
    assert found._repr_html_() == found.svg()


def test_the_text_has_both_panels_and_fits_a_terminal():
    lines = str(curve(PLAIN)).splitlines()
    assert [line for line in lines if "DPO" in line] == [
        "loss   o DPO, beta 0.1   · nothing learned",
        "slope of the loss   o DPO, beta 0.1   · no pull",
    ]
    assert sum("log-ratio difference, nats" in line for line in lines) == 2
    assert max(map(len, lines)) <= 80


def test_plain_values_say_all_of_it():
    assert curve(PLAIN, differences=[0]).to_dict() == {
        "methods": [PLAIN.model_dump()],
        "differences": [0.0],
        "losses": [[pytest.approx(math.log(2))]],
        "slopes": [[pytest.approx(-0.05)]],
    }


def test_methods_of_different_units_are_refused():
    with pytest.raises(
        ValueError, match=r"^curve: expected methods that all normalise by length, or none; their axes "
    ):
        curve(PLAIN, NORMALIZED)


def test_more_methods_than_can_be_told_apart_are_refused():
    six = [DPO(dpo_beta=beta) for beta in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)]
    assert len(curve(*six).losses) == 6
    with pytest.raises(ValueError, match=r"^curve: expected at most 6 methods in one picture, found 7$"):
        curve(*six, DPO(dpo_beta=0.7))


@pytest.mark.parametrize(("differences", "shape"), [([], "(0,)"), (0.5, "()"), ([[0.5, 1.0]], "(1, 2)")])
def test_differences_that_are_no_row_of_numbers_are_refused(differences, shape):
    sentence = rf"^differences: expected at least one number, in one list, found shape {re.escape(shape)}$"
    with pytest.raises(ValueError, match=sentence):
        curve(PLAIN, differences=differences)
