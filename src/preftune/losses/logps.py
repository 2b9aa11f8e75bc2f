"""From logits to log-probabilities of the tokens that stand in the data."""

from __future__ import annotations

from typing import Any

from preftune.losses._arrays import Array, first_index, namespace, widest

_CHUNK = 1 << 22  # logits handled at once: 16 MiB of float32, small beside any (B, T, V)


def token_logps(logits: Array, labels: Array, mask: Array) -> Array:
    """Return log-probabilities (B, T) in the widest float: entry t is that of token t where it is scored, else 0.

    `logits` is (B, T, V), `labels` (B, T) token ids, `mask` (B, T) true where a token is scored. The logits at position
    t-1 score token t, so token 0 cannot be scored. No temporary of the logits' size is made.
    Raises ValueError for shapes that do not fit and for a mask that scores token 0.
    """
    xp = namespace(logits, labels, mask)
    scored = xp.astype(mask, xp.bool)
    _check(xp, logits, labels, scored)
    rows = [_row_logps(xp, logits[b, ...], labels[b, ...], scored[b, ...]) for b in range(logits.shape[0])]
    return xp.stack(rows)  # (B, T)


def sequence_logps(logits: Array, labels: Array, mask: Array) -> tuple[Array, Array]:
    """Return summed log-probabilities (B,) in nats and numbers of scored tokens (B,); arguments as `token_logps`."""
    per_token = token_logps(logits, labels, mask)
    xp = namespace(per_token)
    lengths = xp.sum(xp.astype(xp.astype(mask, xp.bool), per_token.dtype), axis=1)
    return xp.sum(per_token, axis=1), lengths


def _row_logps(xp: Any, logits: Array, labels: Array, scored: Array) -> Array:
    """Return the (T,) log-probabilities of one row; `logits` is (T, V)."""
    tokens, vocabulary = logits.shape
    step = max(1, _CHUNK // vocabulary)
    parts = [xp.zeros((1,), dtype=widest(xp, logits), device=logits.device)]  # token 0 is never scored
    for start in range(1, tokens, step):
        stop = min(start + step, tokens)
        block = logits[start - 1 : stop - 1, ...]  # (c, V)
        safe = xp.where(scored[start:stop], labels[start:stop], xp.zeros_like(labels[start:stop]))
        logps = _gather_log_softmax(xp, block, safe)
        parts.append(xp.where(scored[start:stop], logps, xp.zeros_like(logps)))
    return xp.concat(parts)


def _gather_log_softmax(xp: Any, block: Array, labels: Array) -> Array:
    """Return the (c,) log-softmax of a (c, V) block at the labels; sums run in the widest float."""
    dtype = widest(xp, block)
    block = xp.astype(block, xp.result_type(block.dtype, xp.float32), copy=False)  # exp in half precision loses digits
    top = xp.max(block, axis=1, keepdims=True)
    total = xp.sum(xp.exp(block - top), axis=1, dtype=dtype)
    picked = xp.take_along_axis(block, xp.astype(labels[:, None], xp.int64, copy=False), axis=1)[:, 0]
    return xp.astype(picked, dtype) - xp.astype(top[:, 0], dtype) - xp.log(total)


def _check(xp: Any, logits: Array, labels: Array, scored: Array) -> None:
    if logits.ndim != 3 or 0 in logits.shape:  # noqa: PLR2004 - (B, T, V)
        raise ValueError(f"logits: expected shape (B, T, V), none of them 0, found {tuple(logits.shape)}")
    for name, array in (("labels", labels), ("mask", scored)):
        if tuple(array.shape) != tuple(logits.shape[:2]):
            raise ValueError(f"{name}: expected shape {tuple(logits.shape[:2])}, found {tuple(array.shape)}")
    if not xp.isdtype(labels.dtype, "integral"):
        raise ValueError(f"labels: expected integer token ids, found dtype {labels.dtype}")
    row = first_index(xp, scored[:, 0])
    if row is not None:
        raise ValueError(f"mask[{row}, 0]: expected false, found true; no logits score the first token")
    for name, wrong in (("negative", labels < 0), ("at or above the vocabulary", labels >= logits.shape[2])):
        row = first_index(xp, xp.any(wrong & scored, axis=1))
        if row is not None:
            raise ValueError(
                f"labels[{row}]: expected ids in 0..{logits.shape[2] - 1} where the mask is true, found one {name}"
            )
