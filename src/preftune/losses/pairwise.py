"""The losses of the field by name: each one pure function from log-probabilities to the loss of every pair.

Invariant: every array is (B,), one entry a pair, in nats, summed over the scored tokens of an answer; lengths are
numbers of scored tokens. What comes back is (B,), in the widest float of the array library, and not weighted. With
`l` under the policy, `l0` under the reference, c for chosen and r for rejected, `d = (l_c - l0_c) - (l_r - l0_r)`, in
this order, since the two small differences are better conditioned than the four large sums:

    dpo_loss                      softplus(-beta * d)                                 arXiv 2305.18290 eq. 7
    reference_free_dpo_loss       softplus(-beta * (l_c - l_r))
    length_normalized_dpo_loss    softplus(-beta * ((l_c - l0_c) / n_c - (l_r - l0_r) / n_r))     arXiv 2411.15124
    simpo_loss                    softplus(-beta * (l_c / n_c - l_r / n_r) + gamma)   arXiv 2405.14734
    conservative_dpo_loss         (1 - e) * softplus(-z) + e * softplus(z), z = beta * d    Mitchell 2023, noisy labels
    robust_dpo_loss               ((1 - e) * softplus(-z) - e * softplus(z)) / (1 - 2e)     arXiv 2403.00409
    ipo_loss                      (d - 1 / (2 beta)) ** 2                             arXiv 2310.12036
    length_normalized_ipo_loss    the same with the difference of the ratios per token
    hinge_loss                    max(0, 1 - beta * d)                                arXiv 2305.10425
    chosen_nll                    -l_c / n_c                                          arXiv 2404.19733
    batch_token_nll               -l_c * B / sum(n_c), whose mean is the token mean of the batch

Each raises ValueError, naming the argument and the pair, for wrong shapes, empty batches and sides with nothing scored.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from preftune.losses._arrays import Array, namespace, needed_arrays, refuse_below


def dpo_loss(
    *,
    policy_chosen_logps: Array,
    policy_rejected_logps: Array,
    reference_chosen_logps: Array,
    reference_rejected_logps: Array,
    beta: float = 0.1,
) -> Array:
    """Return the loss of direct preference optimisation."""
    return _logistic(_scaled(beta, _difference(_pairs(locals()))))


def reference_free_dpo_loss(*, policy_chosen_logps: Array, policy_rejected_logps: Array, beta: float = 0.1) -> Array:
    """Return the loss of DPO with the reference left out, as if it found all answers equally likely."""
    pairs = _pairs(locals())
    return _logistic(_scaled(beta, pairs["policy_chosen_logps"] - pairs["policy_rejected_logps"]))


def length_normalized_dpo_loss(
    *,
    policy_chosen_logps: Array,
    policy_rejected_logps: Array,
    reference_chosen_logps: Array,
    reference_rejected_logps: Array,
    chosen_lengths: Array,
    rejected_lengths: Array,
    beta: float = 0.1,
) -> Array:
    """Return the loss of DPO on log-ratios per token: each side is divided by its own length, beta comes after."""
    return _logistic(_scaled(beta, _difference(_pairs(locals()))))


def simpo_loss(
    *,
    policy_chosen_logps: Array,
    policy_rejected_logps: Array,
    chosen_lengths: Array,
    rejected_lengths: Array,
    beta: float = 2.0,
    gamma: float = 0.0,
) -> Array:
    """Return the loss of SimPO: no reference, log-probabilities per token, an absolute margin gamma beside beta."""
    if not (_is_number(gamma) and 0 <= gamma < math.inf):
        raise ValueError(f"gamma: expected a number of 0 or more, found {gamma!r}; it is the margin that is asked for")
    pairs = _pairs(locals())
    chosen = pairs["policy_chosen_logps"] / pairs["chosen_lengths"]
    rejected = pairs["policy_rejected_logps"] / pairs["rejected_lengths"]
    return _logistic(_scaled(beta, chosen - rejected) - gamma)


def conservative_dpo_loss(
    *,
    policy_chosen_logps: Array,
    policy_rejected_logps: Array,
    reference_chosen_logps: Array,
    reference_rejected_logps: Array,
    beta: float = 0.1,
    label_smoothing: float = 0.1,
) -> Array:
    """Return the DPO loss expected when a share `label_smoothing` of the labels is flipped."""
    z = _scaled(beta, _difference(_pairs(locals())))
    noise = _share(label_smoothing)
    return (1 - noise) * _logistic(z) + noise * _logistic(-z)


def robust_dpo_loss(
    *,
    policy_chosen_logps: Array,
    policy_rejected_logps: Array,
    reference_chosen_logps: Array,
    reference_rejected_logps: Array,
    beta: float = 0.1,
    label_smoothing: float = 0.1,
) -> Array:
    """Return an unbiased estimate of the DPO loss on clean labels, from labels of which that share is flipped."""
    z = _scaled(beta, _difference(_pairs(locals())))
    noise = _share(label_smoothing)
    return ((1 - noise) * _logistic(z) - noise * _logistic(-z)) / (1 - 2 * noise)


def ipo_loss(
    *,
    policy_chosen_logps: Array,
    policy_rejected_logps: Array,
    reference_chosen_logps: Array,
    reference_rejected_logps: Array,
    beta: float = 0.1,
) -> Array:
    """Return the identity preference loss: the squared distance of the difference from 1 / (2 beta)."""
    return _squared(beta, _difference(_pairs(locals())))


def length_normalized_ipo_loss(
    *,
    policy_chosen_logps: Array,
    policy_rejected_logps: Array,
    reference_chosen_logps: Array,
    reference_rejected_logps: Array,
    chosen_lengths: Array,
    rejected_lengths: Array,
    beta: float = 0.1,
) -> Array:
    """Return the identity preference loss on log-ratios per token."""
    return _squared(beta, _difference(_pairs(locals())))


def hinge_loss(
    *,
    policy_chosen_logps: Array,
    policy_rejected_logps: Array,
    reference_chosen_logps: Array,
    reference_rejected_logps: Array,
    beta: float = 0.1,
) -> Array:
    """Return the hinge loss on the scaled difference: 0 once it is at least 1."""
    z = _scaled(beta, _difference(_pairs(locals())))
    return namespace(z).clip(1 - z, min=0)


def chosen_nll(*, policy_chosen_logps: Array, chosen_lengths: Array) -> Array:
    """Return the mean negative log-likelihood of each chosen answer's tokens, whatever else is in the batch."""
    pairs = _pairs(locals())
    return -pairs["policy_chosen_logps"] / pairs["chosen_lengths"]


def batch_token_nll(*, policy_chosen_logps: Array, chosen_lengths: Array) -> Array:
    """Return each pair's part in the mean over all chosen tokens of the batch, so that their mean over pairs is it."""
    pairs = _pairs(locals())
    logps, lengths = pairs["policy_chosen_logps"], pairs["chosen_lengths"]
    return -logps * logps.shape[0] / namespace(lengths).sum(lengths)


def _pairs(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the array arguments of a loss, checked."""
    pairs = needed_arrays(**{name: value for name, value in arguments.items() if name.endswith(("_logps", "_lengths"))})
    refuse_below(pairs)
    return pairs


def _difference(pairs: dict[str, Any]) -> Array:
    """Return the difference of the log-ratios, per token where there are lengths."""
    chosen = pairs["policy_chosen_logps"] - pairs["reference_chosen_logps"]
    rejected = pairs["policy_rejected_logps"] - pairs["reference_rejected_logps"]
    if "chosen_lengths" in pairs:
        chosen, rejected = chosen / pairs["chosen_lengths"], rejected / pairs["rejected_lengths"]
    return chosen - rejected


def _scaled(beta: float, difference: Array) -> Array:
    return _positive(beta) * difference


def _squared(beta: float, difference: Array) -> Array:
    distance = difference - 1 / (2 * _positive(beta))
    return distance * distance


def _logistic(z: Array) -> Array:
    """Return softplus(-z), finite for any finite z."""
    xp = namespace(z)
    return xp.logaddexp(xp.zeros_like(z), -z)


def _positive(beta: float) -> float:
    if not (_is_number(beta) and 0 < beta < math.inf):
        raise ValueError(f"beta: expected a number above 0, found {beta!r}; the DPO paper takes 0.1")
    return beta


def _share(label_smoothing: float) -> float:
    if not (_is_number(label_smoothing) and 0 <= label_smoothing < 0.5):  # noqa: PLR2004 - at a half, labels say nothing
        found = f"found {label_smoothing!r}; it is the share of labels that are flipped"
        raise ValueError(f"label_smoothing: expected a number from 0 to below 0.5, {found}")
    return label_smoothing


def _is_number(knob: Any) -> bool:
    """Tell whether a knob is one real number, which may be an array without dimensions."""
    return isinstance(knob, Real) or getattr(knob, "ndim", None) == 0
