"""The loss that the hosted knobs ask for, chosen among the named ones, with rewards and analytic gradients.

Invariant: every array is (B,), one entry a pair, in nats; lengths are numbers of scored tokens. With, per side s,
`logp_s` under the policy, `ref_s` under the reference and `n_s` tokens:

    ratio_s = logp_s - ref_s        (ref left out when reference-free)
    ratio_s = ratio_s / n_s         (when length-normalised)
    z       = beta * (ratio_chosen - ratio_rejected) - gamma
    loss    = softplus(-z) + alpha * nll(chosen)

Source: DPO arXiv 2305.18290 eq. 7; SimPO arXiv 2405.14734; the NLL term arXiv 2404.19733.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from preftune.losses._arrays import Array, namespace, pair_arrays, refuse_below
from preftune.losses.method import DPO
from preftune.losses.pairwise import (
    batch_token_nll,
    chosen_nll,
    dpo_loss,
    length_normalized_dpo_loss,
    reference_free_dpo_loss,
    simpo_loss,
)

_PLAIN = DPO()
Nll: TypeAlias = Literal["sequence", "batch-token"]  # chosen_nll or batch_token_nll


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
    nll: Nll = "sequence",
) -> PreferenceLoss:
    """Return the loss and the implicit rewards of a batch of pairs.

    References are needed unless the method is reference-free; lengths when it normalises, and the chosen ones when it
    adds the NLL term. A weight multiplies its pair's loss and is not renormalised: 0 keeps its place in the mean.
    `nll` is what `rpo_alpha` multiplies: each answer's own mean over tokens, or its part in the mean over the batch's.
    Raises ValueError, naming argument and pair, for a missing argument, a wrong shape, or a side with nothing scored.
    """
    pairs = _Pairs.of(locals())
    losses = _named(pairs)
    if pairs.method.rpo_alpha > 0:
        term = chosen_nll if nll == "sequence" else batch_token_nll
        chosen = {name: pairs.arrays[name] for name in ("policy_chosen_logps", "chosen_lengths")}
        losses = losses + pairs.method.rpo_alpha * term(**chosen)
    if pairs.weights is not None:
        losses = losses * pairs.weights
    return PreferenceLoss(losses, pairs.reward("chosen"), pairs.reward("rejected"))


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
    nll: Nll = "sequence",
) -> tuple[Array, Array]:
    """Return d losses / d policy_chosen_logps and d losses / d policy_rejected_logps: each (B,), not divided by B.

    Takes what `preference_loss` takes and raises what it raises.
    """
    pairs = _Pairs.of(locals())
    pull = pairs.method.dpo_beta * pairs.still_wrong()
    chosen, rejected = -pull, pull
    if pairs.method.is_normalized:
        chosen, rejected = chosen / pairs.arrays["chosen_lengths"], rejected / pairs.arrays["rejected_lengths"]
    if pairs.method.rpo_alpha > 0:
        lengths = pairs.arrays["chosen_lengths"]
        mean = lengths if nll == "sequence" else pairs.xp.mean(lengths)
        chosen = chosen - pairs.method.rpo_alpha / mean
    if pairs.weights is not None:
        chosen, rejected = chosen * pairs.weights, rejected * pairs.weights
    return chosen, rejected


def gradient_weights(
    *,
    policy_chosen_logps: Array,
    policy_rejected_logps: Array,
    reference_chosen_logps: Array | None = None,
    reference_rejected_logps: Array | None = None,
    chosen_lengths: Array | None = None,
    rejected_lengths: Array | None = None,
    weights: Array | None = None,
    method: DPO = _PLAIN,
) -> Array:
    """Return how much the update listens to each pair, (B,): weight * 1 / (1 + exp(z)).

    Half the weight at z = 0, all of it where the rewards say the opposite, none once the pair is learned. The gradient
    of a pair is beta times this times the difference of the two sides' own gradients. Takes what `preference_loss`
    takes. Source: arXiv 2305.18290, section 4.
    """
    pairs = _Pairs.of(locals())
    wrong = pairs.still_wrong()
    return wrong if pairs.weights is None else wrong * pairs.weights


@dataclass(frozen=True, eq=False)
class _Pairs:
    """A checked batch: all that the method needs is there, (B,), and of one dtype."""

    xp: Any
    method: DPO
    arrays: dict[str, Array]  # by the names of the public arguments; None where they were not given

    @classmethod
    def of(cls, arguments: dict[str, Any]) -> _Pairs:
        """Return the batch for the arguments of a public function, or raise ValueError."""
        arguments, method = dict(arguments), arguments["method"]
        if not isinstance(method, DPO):
            raise TypeError(f"method: expected a DPO, found {method!r}; write preftune.DPO(dpo_beta=0.1)")
        nll = arguments.pop("nll", "sequence")
        if nll not in get_args(Nll):
            raise ValueError(f"nll: expected one of {', '.join(get_args(Nll))}, found {nll!r}")
        del arguments["method"]
        for name, reason in _needed(method).items():
            if arguments[name] is None:
                raise ValueError(f"{name}: needed, because {reason}; found None")
        arrays = pair_arrays(**arguments)
        refuse_below(arrays)
        return cls(namespace(arrays["policy_chosen_logps"]), method, arrays)

    @property
    def weights(self) -> Array:
        """Return the weights, (B,), or None."""
        return self.arrays["weights"]

    def reward(self, side: str) -> Array:
        """Return beta times the log-ratio of a side that is in force, (B,)."""
        ratio = self.arrays[f"policy_{side}_logps"]
        if not self.method.is_reference_free:
            ratio = ratio - self.arrays[f"reference_{side}_logps"]
        if self.method.is_normalized:
            ratio = ratio / self.arrays[f"{side}_lengths"]
        return self.method.dpo_beta * ratio

    def still_wrong(self) -> Array:
        """Return 1 / (1 + exp(z)), (B,), without overflow at either end."""
        xp, z = self.xp, self.reward("chosen") - self.reward("rejected") - self.method.simpo_gamma
        small = xp.exp(-xp.abs(z))
        return xp.where(z >= 0, small, xp.ones_like(z)) / (1 + small)


def _named(pairs: _Pairs) -> Array:
    """Return the loss of each pair, (B,), by the function that the knobs choose."""
    method = pairs.method
    policy, reference, lengths = (
        {name: array for name, array in pairs.arrays.items() if name.startswith(start) or name.endswith(start)}
        for start in ("policy", "reference", "lengths")
    )
    if method.is_reference_free and method.is_normalized:
        return simpo_loss(**policy, **lengths, beta=method.dpo_beta, gamma=method.simpo_gamma)
    if method.is_reference_free:
        return reference_free_dpo_loss(**policy, beta=method.dpo_beta)
    if method.is_normalized:
        return length_normalized_dpo_loss(**policy, **reference, **lengths, beta=method.dpo_beta)
    return dpo_loss(**policy, **reference, beta=method.dpo_beta)


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
