"""The divergence from the reference: estimators on the data's own tokens or sequences, and the exact one of a token.

With k = log policy - log reference: k1 = k, k2 = k**2 / 2, k3 = exp(-k) - 1 + k. Give per-token arrays for the
per-token estimators and summed ones for the per-sequence estimators; nothing here sums or averages over tokens.
"""

from __future__ import annotations

from typing import Any

from preftune.losses._arrays import Array, namespace, of_one_library, widest
from preftune.losses.logps import checked, row_blocks


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


def token_kl(policy_logits: Array, reference_logits: Array, mask: Array) -> Array:
    """Return the exact KL divergence of the policy's next-token distribution from the reference's, (B, T), in nats.

    Both logits are (B, T, V), `mask` (B, T) true where a token is scored: entry t is the divergence of the two
    distributions that token t is drawn from, which stand at t-1; 0 where the mask is false. Block by block, in the
    widest float.
    Raises ValueError for what is no array, for shapes that do not fit, and for a mask that scores token 0.
    """
    of_one_library({"policy_logits": policy_logits, "reference_logits": reference_logits})
    xp, scored = checked(policy_logits, None, mask)
    if tuple(reference_logits.shape) != tuple(policy_logits.shape):
        expected, found = tuple(policy_logits.shape), tuple(reference_logits.shape)
        raise ValueError(f"reference_logits: expected shape {expected} like policy_logits, found {found}")
    dtype = widest(xp, policy_logits)
    unread = xp.zeros_like(xp.astype(scored[:1, :1], dtype))[0, :]
    rows = []
    for row in range(scored.shape[0]):
        sides = (row_blocks(xp, logits, scored, row) for logits in (policy_logits, reference_logits))
        pieces = [_row_kl(xp, *(xp.astype(block, dtype) for block in pair)) for pair in zip(*sides, strict=True)]
        rows.append(xp.concat([unread, *pieces]))
    return xp.where(scored, xp.stack(rows), xp.zeros_like(xp.astype(scored, dtype)))


def _row_kl(xp: Any, policy: Array, reference: Array) -> Array:
    """Return sum of p * log(p / q) over the vocabulary, (c,); a token that the policy excludes adds nothing."""
    log_p, log_q = _log_softmax(xp, policy), _log_softmax(xp, reference)
    p = xp.exp(log_p)
    log_ratio = xp.where(p > 0, log_p, xp.zeros_like(p)) - xp.where(p > 0, log_q, xp.zeros_like(p))
    return xp.clip(xp.sum(p * log_ratio, axis=1), min=0)  # rounding alone takes it below


def _log_softmax(xp: Any, logits: Array) -> Array:
    shifted = logits - xp.max(logits, axis=1, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=1, keepdims=True))
