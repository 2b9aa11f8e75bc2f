"""The preference losses as pure functions of summed log-probabilities, and their analytic gradients.

Invariant: every array is (B,), one entry a pair, in nats; lengths are numbers of scored tokens. With, per side s,
`logp_s` under the policy, `ref_s` under the reference and `n_s` tokens:

    ratio_s = logp_s - ref_s        (ref left out when reference-free)
    ratio_s = ratio_s / n_s         (when length-normalised)
    z       = beta * (ratio_chosen - ratio_rejected) - gamma
    loss    = softplus(-z) + alpha * (-logp_chosen / n_chosen)

Source: DPO arXiv 2305.18290 eq. 7; SimPO arXiv 2405.14734; the NLL term arXiv 2404.19733.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from preftune.losses._arrays import Array, first_index, namespace, pair_arrays
from preftune.losses.method import DPO

_PLAIN = DPO()


@dataclass(frozen=True, eq=False)
class PreferenceLoss:
    """What the loss says of a batch: each (B,), in the widest float of the array library."""

    losses: Array  # (B,) weighted, so that their mean is the loss of the batch
    rewards_chosen: Array  # (B,) implicit reward: beta times the log-ratio that is in force; gamma is in no reward
    rewards_rejected: Array  # (B,)

    @property
    def mean(self) -> Array:
        """Return the loss of the batch: the sum of the weighted losses over B."""
        return namespace(self.losses).mean(self.losses)

    @property
    def accuracy(self) -> Array:
        """Return the share of pairs whose chosen reward is larger; a tie is a miss, so it is 0 before training."""
        xp = namespace(self.losses)
        return xp.mean(xp.astype(self.rewards_chosen > self.rewards_rejected, self.losses.dtype))

    @property
    def margin(self) -> Array:
        """Return the mean of chosen reward minus rejected reward."""
        return namespace(self.losses).mean(self.rewards_chosen - self.rewards_rejected)


def preference_loss(
    *,
    policy_chosen_logps: Array,
    policy_rejected_logps: Array,
    reference_chosen_logps: Array | None = None,
    reference_rejected_logps: Array | None = None,
    chosen_lengths: Array | None = None,
    rejected_lengths: Array | None = None,
    weights: Array | None = None,
    method: DPO = _PLAIN,
) -> PreferenceLoss:
    """Return the loss and the implicit rewards of a batch of pairs.

    References are needed unless the method is reference-free; lengths when it normalises, and the chosen ones when it
    adds the NLL term. A weight multiplies its pair's loss and is not renormalised: 0 keeps its place in the mean.
    Raises ValueError, naming argument and pair, for a missing argument, a wrong shape, or a side with nothing scored.
    """
    pairs = _Pairs.of(locals())
    xp, method = pairs.xp, pairs.method
    z = pairs.margin()
    losses = xp.logaddexp(xp.zeros_like(z), -z)
    if method.rpo_alpha > 0:
        losses = losses - method.rpo_alpha * pairs.policy_chosen / pairs.chosen_lengths
    if pairs.weights is not None:
        losses = losses * pairs.weights
    return PreferenceLoss(losses, method.dpo_beta * pairs.chosen_ratio(), method.dpo_beta * pairs.rejected_ratio())


def preference_gradients(
    *,
    policy_chosen_logps: Array,
    policy_rejected_logps: Array,
    reference_chosen_logps: Array | None = None,
    reference_rejected_logps: Array | None = None,
    chosen_lengths: Array | None = None,
    rejected_lengths: Array | None = None,
    weights: Array | None = None,
    method: DPO = _PLAIN,
) -> tuple[Array, Array]:
    """Return d losses / d policy_chosen_logps and d losses / d policy_rejected_logps: each (B,), not divided by B.

    Takes what `preference_loss` takes and raises what it raises.
    """
    pairs = _Pairs.of(locals())
    xp, method = pairs.xp, pairs.method
    pull = method.dpo_beta * _sigmoid_of_minus(xp, pairs.margin())
    chosen, rejected = -pull, pull
    if method.is_normalized:
        chosen, rejected = chosen / pairs.chosen_lengths, rejected / pairs.rejected_lengths
    if method.rpo_alpha > 0:
        chosen = chosen - method.rpo_alpha / pairs.chosen_lengths
    if pairs.weights is not None:
        chosen, rejected = chosen * pairs.weights, rejected * pairs.weights
    return chosen, rejected


def _sigmoid_of_minus(xp: Any, z: Array) -> Array:
    """Return 1 / (1 + exp(z)) without overflow at either end."""
    small = xp.exp(-xp.abs(z))
    return xp.where(z >= 0, small, xp.ones_like(z)) / (1 + small)


@dataclass(frozen=True, eq=False)
class _Pairs:
    """A checked batch: all that the method needs is there, (B,), and of one dtype."""

    xp: Any
    method: DPO
    policy_chosen: Array
    policy_rejected: Array
    reference_chosen: Array  # None where the method has no reference
    reference_rejected: Array
    chosen_lengths: Array  # None where the method does not need them
    rejected_lengths: Array
    weights: Array  # None where every pair counts alike

    @classmethod
    def of(cls, arguments: dict[str, Any]) -> _Pairs:
        """Return the batch for the arguments of a public function, or raise ValueError."""
        method = arguments.pop("method")
        if not isinstance(method, DPO):
            raise TypeError(f"method: expected a DPO, found {method!r}; write preftune.DPO(dpo_beta=0.1)")
        for name, reason in _needed(method).items():
            if arguments[name] is None:
                raise ValueError(f"{name}: needed, because {reason}; found None")
        arrays = pair_arrays(**arguments)
        xp = namespace(arrays["policy_chosen_logps"])
        for name, (least, what, hint) in _LEAST.items():
            array = arrays[name]
            pair = None if array is None else first_index(xp, ~(array >= least))  # NaN too
            if array is not None and pair is not None:
                found = f"{float(array[pair]):g}"
                raise ValueError(f"{name}[{pair}]: expected at least {least} {what}, found {found}; {hint}")
        return cls(xp, method, *arrays.values())

    def margin(self) -> Array:
        """Return z, (B,): ratios first, then their difference (better conditioned), then beta and gamma."""
        return self.method.dpo_beta * (self.chosen_ratio() - self.rejected_ratio()) - self.method.simpo_gamma

    def chosen_ratio(self) -> Array:
        """Return the log-ratio of the chosen side that is in force, (B,)."""
        return self._ratio(self.policy_chosen, self.reference_chosen, self.chosen_lengths)

    def rejected_ratio(self) -> Array:
        """Return the log-ratio of the rejected side that is in force, (B,)."""
        return self._ratio(self.policy_rejected, self.reference_rejected, self.rejected_lengths)

    def _ratio(self, policy: Array, reference: Array | None, lengths: Array | None) -> Array:
        ratio = policy if self.method.is_reference_free else policy - reference
        return ratio / lengths if self.method.is_normalized else ratio


_LEAST = {  # argument: the smallest value of a pair, in words, and what to do below it
    "chosen_lengths": (1, "scored token", "drop the pair, or look for an empty or cut-away answer"),
    "rejected_lengths": (1, "scored token", "drop the pair, or look for an empty or cut-away answer"),
    "weights": (0, "as a weight", "swap the sides of a pair to turn its preference round"),
}


def _needed(method: DPO) -> dict[str, str]:
    """Return the arguments that the method needs, each with the reason."""
    needed = dict.fromkeys(("policy_chosen_logps", "policy_rejected_logps"), "every loss reads the policy")
    if not method.is_reference_free:
        reason = "the method has a reference (dpo_reference_free and simpo_gamma leave it out)"
        needed |= dict.fromkeys(("reference_chosen_logps", "reference_rejected_logps"), reason)
    if method.is_normalized:
        needed |= dict.fromkeys(("chosen_lengths", "rejected_lengths"), "the method divides by length")
    if method.rpo_alpha > 0:
        needed |= {"chosen_lengths": "rpo_alpha adds the chosen side's mean NLL"}
    return needed
