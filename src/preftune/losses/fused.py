"""From logits straight to the loss and its gradient, for trainers that have no automatic differentiation."""

from __future__ import annotations

from preftune.losses._arrays import Array, of_one_library, without_graph
from preftune.losses.logps import checked, lengths_of, logits_gradient, with_normalizers, writable
from preftune.losses.method import DPO
from preftune.losses.preference import Nll, PreferenceLoss, preference_gradients, preference_loss

_PLAIN = DPO()


def preference_loss_and_gradient(
    logits: Array,
    labels: Array,
    mask: Array,
    *,
    reference_chosen_logps: Array | None = None,
    reference_rejected_logps: Array | None = None,
    weights: Array | None = None,
    method: DPO = _PLAIN,
    nll: Nll = "sequence",
    out: Array | None = None,
) -> tuple[PreferenceLoss, Array]:
    """Return the loss of B pairs, and d (its mean) / d logits, (2B, T, V).

    `logits` is (2B, T, V), `labels` and `mask` (2B, T): the B chosen answers first, then the B rejected ones, scored as
    by `token_logps`; references are (B,). The gradient is the analytic one, the only array of the logits' size that is
    made; `out` takes it where it is given, an array of the library, dtype and shape of `logits`: of the arrays that
    overlap, `logits` itself may be given and no other.
    For NumPy, PyTorch and CuPy arrays. With PyTorch's autograd, `preference_loss` of `sequence_logps` does the same at
    `.backward()`; here, logits that carry a graph take the gradient on with `logits.backward(gradient)`.
    Raises ValueError as `token_logps` and `preference_loss` do, and for an `out` of another library, dtype or shape
    than the logits; TypeError for logits of other libraries.
    """
    xp, scored = checked(logits, labels, mask)
    if not writable(logits):
        found = f"found {type(logits).__module__}.{type(logits).__name__}"
        hint = "differentiate `preference_loss` of `sequence_logps` instead"
        raise TypeError(f"logits: expected an array of NumPy, PyTorch or CuPy, {found}; {hint}")
    if out is not None:
        _check_room(out, logits)
    if logits.shape[0] % 2:
        raise ValueError(f"logits: expected chosen and rejected answers, one of each a pair, found {logits.shape[0]}")
    logits, out = without_graph(logits), without_graph(out)
    per_token, normalizers = with_normalizers(xp, logits, labels, scored)
    sums, lengths, pairs = xp.sum(per_token, axis=1), lengths_of(per_token, mask), logits.shape[0] // 2
    arguments = {
        "policy_chosen_logps": sums[:pairs],
        "policy_rejected_logps": sums[pairs:],
        "reference_chosen_logps": without_graph(reference_chosen_logps),
        "reference_rejected_logps": without_graph(reference_rejected_logps),
        "chosen_lengths": lengths[:pairs],
        "rejected_lengths": lengths[pairs:],
        "weights": without_graph(weights),
        "method": method,
        "nll": nll,
    }
    loss = preference_loss(**arguments)
    pull = xp.concat(preference_gradients(**arguments)) / pairs  # (2B,)
    spread = xp.broadcast_to(pull[:, None], per_token.shape)
    return loss, logits_gradient(logits, labels, scored=scored, normalizers=normalizers, pull=spread, out=out)


def _check_room(out: Array, logits: Array) -> None:
    of_one_library({"logits": logits, "out": out})
    if out.dtype != logits.dtype:
        raise ValueError(f"out: expected dtype {logits.dtype} like logits, found {out.dtype}")
    if tuple(out.shape) != tuple(logits.shape):
        raise ValueError(f"out: expected shape {tuple(logits.shape)} like logits, found {tuple(out.shape)}")
