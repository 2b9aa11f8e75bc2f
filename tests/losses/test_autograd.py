"""The node of PyTorch's graph under `token_logps` and `sequence_logps`."""

import tracemalloc

import numpy as np
import pytest

from preftune.losses import DPO, logps, preference_gradients, preference_loss, sequence_logps, token_logps

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")

MEBIBYTE = 1 << 20
LOGPS = ("policy_chosen_logps", "policy_rejected_logps", "reference_chosen_logps", "reference_rejected_logps")


def sample(*, rows: int = 3, tokens: int = 9, vocabulary: int = 11, dtype=torch.float64, seed: int = 5):
    """Logits with gradients, labels, and a mask with holes that scores a token of every row and never the first."""
    random = torch.Generator().manual_seed(seed)
    mask = torch.rand(rows, tokens, generator=random) < 0.5
    mask[:, 0], mask[:, 4] = False, True
    logits = 3 * torch.randn(rows, tokens, vocabulary, generator=random, dtype=torch.float64)
    return logits.to(dtype).requires_grad_(), torch.randint(0, vocabulary, (rows, tokens), generator=random), mask


def by_log_softmax(logits, labels, mask):
    """Return (B, T) as PyTorch's own functions find it."""
    found = torch.log_softmax(logits[:, :-1], 2).gather(2, labels[:, 1:, None].long())[..., 0] * mask[:, 1:]
    return torch.cat([torch.zeros_like(found[:, :1]), found], 1)


def both_gradients(logits, labels, mask):
    """Return the gradient of the logits through the node, and through log_softmax and gather in float64."""
    pull = torch.linspace(-1, 2, mask.numel(), dtype=torch.float64).reshape(mask.shape)
    (found,) = torch.autograd.grad((token_logps(logits, labels, mask) * pull).sum(), logits)
    wide = logits.detach().double().requires_grad_()
    (expected,) = torch.autograd.grad((by_log_softmax(wide, labels, mask) * pull).sum(), wide)
    return found, expected


def test_the_gradient_passes_pytorchs_own_check():
    logits, labels, mask = sample(rows=2, tokens=5, vocabulary=4)
    assert torch.autograd.gradcheck(lambda each: token_logps(each, labels, mask), logits)
    assert torch.autograd.gradcheck(lambda each: sequence_logps(each, labels, mask)[0], logits)


@pytest.mark.parametrize(
    ("dtype", "atol"),
    [(torch.float64, 1e-14), (torch.float32, 1e-6), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)],
    ids=str,
)
def test_gradients_are_those_of_log_softmax_and_gather(dtype, atol):
    logits, labels, mask = sample(dtype=dtype)
    found, expected = both_gradients(logits, labels, mask)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_values_are_those_of_log_softmax_and_gather_in_float64(dtype):
    logits, labels, mask = sample(dtype=dtype)
    found = token_logps(logits, labels, mask)
    assert found.dtype == torch.float64
    expected = by_log_softmax(logits.detach().double(), labels, mask)
    torch.testing.assert_close(found.detach(), expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8], ids=str)
def test_labels_of_any_integer_type_have_the_same_gradient(dtype):
    logits, labels, mask = sample()
    found, expected = both_gradients(logits, labels.to(dtype), mask)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)


def test_a_token_pulls_at_its_logits_with_one_hot_less_softmax():
    # dL/dlogit[t-1, v] = (dL/dlogps) * (1[v = y_t] - softmax_v)
    sides = [sample(seed=seed) for seed in (1, 2)]
    sums = [sequence_logps(*side)[0] for side in sides]
    references = [side.detach() + torch.tensor([1.0, -2.0, 0.5]) for side in sums]
    arguments = dict(zip(LOGPS, (*sums, *references), strict=True))
    preference_loss(**arguments).losses.sum().backward()
    for (logits, labels, mask), pull in zip(sides, preference_gradients(**arguments), strict=True):
        expected = torch.zeros_like(logits)
        for b, t in mask.nonzero().tolist():
            expected[b, t - 1] = -pull[b] * torch.softmax(logits[b, t - 1], 0)
            expected[b, t - 1, labels[b, t]] += pull[b]
        torch.testing.assert_close(logits.grad, expected.detach(), rtol=1e-10, atol=1e-14)


def test_labels_that_are_not_scored_may_be_anything():
    logits, labels, mask = sample()
    found, expected = both_gradients(logits, labels, mask)
    for filler in (-100, 10**9):
        (again,) = torch.autograd.grad(token_logps(logits, torch.where(mask, labels, filler), mask).sum(), logits)
        (plain,) = torch.autograd.grad(token_logps(logits, labels, mask).sum(), logits)
        assert torch.equal(again, plain)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)


def test_views_and_logits_of_a_larger_graph_have_their_gradients():
    logits, labels, mask = sample()
    wide = torch.zeros(9, 3, 22, dtype=torch.float64)
    wide[:, :, ::2] = logits.detach().transpose(0, 1)
    wide.requires_grad_()
    view = (2 * wide).transpose(0, 1)[:, :, ::2] / 2
    assert not view.is_contiguous()
    token_logps(view, labels, mask).sum().backward()
    (expected,) = torch.autograd.grad(token_logps(logits, labels, mask).sum(), logits)
    torch.testing.assert_close(wide.grad[:, :, ::2].transpose(0, 1), expected, rtol=1e-14, atol=1e-15)
    assert not torch.any(wide.grad[:, :, 1::2])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shift", [-3e4, -200.0, -60.0, 60.0, 200.0, 3e4])
def test_logits_of_any_level_are_scored_alike(dtype, shift):
    logits, labels, mask = sample()
    moved = (logits.detach() + shift).to(dtype)
    found = token_logps(moved, labels, mask)
    assert bool(torch.all(torch.isfinite(found)))
    rounding = 1e-15 if dtype is torch.float64 else 1e-7  # halves are computed as singles
    expected = by_log_softmax(moved.double(), labels, mask)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=rounding * abs(shift) + 1e-12)


@pytest.mark.parametrize("block", [1, 33, 88])
def test_blocks_of_any_length_fit_together(monkeypatch, block):
    expected = both_gradients(*sample())
    monkeypatch.setattr(logps, "_BLOCK", block)
    torch.testing.assert_close(both_gradients(*sample()), expected, rtol=0, atol=1e-14)


def test_room_for_a_gradient_is_contiguous_and_where_the_logits_are():
    from preftune.losses._autograd import room_like

    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        logits = torch.zeros(3, 2, 5, dtype=dtype).transpose(0, 1)
        for device in ("cpu", "meta"):  # meta: arrays without numbers, which are not the processor's
            room = room_like(logits.to(device))
            assert (room.shape, room.dtype, room.device.type) == ((2, 3, 5), dtype, device)
            assert room.is_contiguous()


@pytest.mark.parametrize("shift", [-1e3, 1e3])
def test_logits_far_from_zero_have_finite_gradients(shift):
    logits, labels, mask = sample()
    found, expected = both_gradients((logits.detach() + shift).requires_grad_(), labels, mask)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)


def test_a_token_that_cannot_be_has_no_gradient():
    logits, labels, mask = sample()
    with torch.no_grad():
        logits[:, :, 10] = -torch.inf
    found, _ = both_gradients(logits, labels % 10, mask)
    assert bool(torch.all(torch.isfinite(found)))
    assert not torch.any(found[:, :, 10])


def test_logits_without_gradients_give_values_without_a_graph():
    logits, labels, mask = sample()
    with torch.no_grad():
        assert not token_logps(logits, labels, mask).requires_grad
    assert not token_logps(logits.detach(), labels, mask).requires_grad


def test_gradients_can_be_asked_for_twice_and_are_the_same():
    logits, labels, mask = sample()
    total = token_logps(logits, labels, mask).sum()
    (first,) = torch.autograd.grad(total, logits, retain_graph=True)
    (second,) = torch.autograd.grad(total, logits)
    assert torch.equal(first, second)


def test_a_gradient_of_the_gradient_is_refused():
    logits, labels, mask = sample()
    (gradient,) = torch.autograd.grad((token_logps(logits, labels, mask) ** 2).sum(), logits, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_the_two_sides_may_share_one_array_of_logits():
    logits, labels, mask = sample(rows=6)
    names = (*LOGPS[:2], "chosen_lengths", "rejected_lengths")
    sums, lengths = sequence_logps(logits, labels, mask)
    arguments = dict(zip(names, (*sums.chunk(2), *lengths.chunk(2)), strict=True))
    preference_loss(**arguments, method=DPO(dpo_beta=2.0, simpo_gamma=0.5)).mean.backward()
    wide = logits.detach().clone().requires_grad_()
    sums = by_log_softmax(wide, labels, mask).sum(1)
    arguments = dict(zip(names, (*sums.chunk(2), *lengths.chunk(2)), strict=True))
    preference_loss(**arguments, method=DPO(dpo_beta=2.0, simpo_gamma=0.5)).mean.backward()
    torch.testing.assert_close(logits.grad, wide.grad, rtol=1e-10, atol=1e-14)


def test_the_gradient_is_the_only_array_of_the_logits_size():
    logits = torch.randn(2, 128, 1 << 14, generator=torch.Generator().manual_seed(1)).requires_grad_()
    size = logits.numel() * logits.element_size()  # 16 MiB
    mask = torch.ones(2, 128, dtype=torch.bool)
    mask[:, 0] = False
    labels = torch.zeros(2, 128, dtype=torch.int64)
    tracemalloc.start()  # sees what NumPy allocates, where the gradient is
    try:
        sequence_logps(logits, labels, mask)[0].sum().backward()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size <= peak < size + MEBIBYTE
    with torch.profiler.profile(profile_memory=True) as profile:  # sees what PyTorch allocates
        sequence_logps(logits.detach().requires_grad_(), labels, mask)[0].sum().backward()
    assert max(event.self_cpu_memory_usage for event in profile.events()) < 9 * MEBIBYTE  # a block, summed in float64
    assert logits.grad.is_contiguous()
    np.testing.assert_allclose(logits.grad[:, :-1].sum(2).numpy(), 0, atol=1e-4)
