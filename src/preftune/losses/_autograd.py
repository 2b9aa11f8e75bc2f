"""The log-probabilities as one node of PyTorch's graph: it keeps (B, T) normalizers and writes one gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from preftune.losses._arrays import namespace
from preftune.losses.logps import logits_gradient, with_normalizers


class TokenLogps(Function):
    """`token_logps` of checked arguments."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, scored: Tensor) -> Tensor:
        """Return the log-probabilities, (B, T)."""
        logps, normalizers = with_normalizers(namespace(logits), logits, labels, scored)
        ctx.save_for_backward(logits, labels, scored, normalizers)
        return logps

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, pull: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of the logits, (B, T, V)."""
        logits, labels, scored, normalizers = ctx.saved_tensors
        room = room_like(logits)
        gradient = logits_gradient(logits, labels, scored=scored, normalizers=normalizers, pull=pull, out=room)
        return gradient, None, None


def room_like(logits: Tensor) -> Tensor:
    """Return an array of the logits' size to write into; NumPy asks for huge pages, which halves the time."""
    if logits.device.type != "cpu":
        return torch.empty_like(logits, memory_format=torch.contiguous_format)
    raw = np.empty((*logits.shape[:-1], logits.shape[-1] * logits.element_size()), np.uint8)
    return torch.from_numpy(raw).view(logits.dtype)
