"""Estimators of the divergence from the reference, on the data's own tokens or sequences.

With k = log policy - log reference: k1 = k, k2 = k**2 / 2, k3 = exp(-k) - 1 + k. Give per-token arrays for the
per-token estimators and summed ones for the per-sequence estimators; nothing here sums or averages.
"""

from __future__ import annotations

from preftune.losses._arrays import Array, namespace


def k1(policy_logps: Array, reference_logps: Array) -> Array:
    """Return the plain log-ratio, in nats: unbiased on samples of the policy, of either sign."""
    return policy_logps - reference_logps


def k2(policy_logps: Array, reference_logps: Array) -> Array:
    """Return half the squared log-ratio: 0 at the reference, never negative; the local `approx. KL`."""
    log_ratio = policy_logps - reference_logps
    return log_ratio * log_ratio / 2


def k3(policy_logps: Array, reference_logps: Array) -> Array:
    """Return exp(-k) - 1 + k: never negative, and unbounded for sequences that the policy has left."""
    xp = namespace(policy_logps, reference_logps)
    log_ratio = policy_logps - reference_logps
    return xp.expm1(-log_ratio) + log_ratio
