"""The losses and their gradients beside TRL's trainers and torchtune's losses, on one small model of transformers."""

import importlib.util
import inspect
import warnings

import pytest

if not all(map(importlib.util.find_spec, ("datasets", "torch", "torchtune", "transformers", "trl"))):
    pytest.skip("the trainers' packages are not in this environment: make peers", allow_module_level=True)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # they warn of each other's versions
    import torch
    from datasets import Dataset
    from tokenizers import Tokenizer, models, pre_tokenizers
    from torchtune import rlhf
    from torchtune.rlhf.loss import DPOLoss, RSOLoss
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
    from trl import DPOConfig, DPOTrainer
    from trl.experimental.cpo import CPOConfig, CPOTrainer

import preftune as pt
from preftune.losses import (
    chosen_nll,
    conservative_dpo_loss,
    dpo_loss,
    hinge_loss,
    ipo_loss,
    length_normalized_dpo_loss,
    length_normalized_ipo_loss,
    preference_loss,
    preference_loss_and_gradient,
    reference_free_dpo_loss,
    robust_dpo_loss,
    sequence_logps,
    simpo_loss,
)

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # each of them warns of the next one's old names
WORDS = 61
ROWS = [  # with the end of the text that TRL writes after an answer: 3 against 2 tokens, 2 against 5, 7 against 3
    {"prompt": "w5 w6 w7", "chosen": " w8 w9", "rejected": " w10"},
    {"prompt": "w12", "chosen": " w13", "rejected": " w14 w15 w16 w17"},
    {"prompt": "w2 w3", "chosen": " w21 w22 w23 w24 w25 w26", "rejected": " w28 w29"},
]
LOGPS = ("policy_chosen_logps", "policy_rejected_logps", "reference_chosen_logps", "reference_rejected_logps")


def small_model(seed: int) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=WORDS, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=64, initializer_range=0.5,
    )  # fmt: skip
    torch.manual_seed(seed)
    return LlamaForCausalLM(config)


@pytest.fixture(scope="module")
def tokenizer():
    words = {"<pad>": 0, "<eos>": 1} | {f"w{at}": at for at in range(2, WORDS)}
    plain = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="<pad>", eos_token="<eos>")


class Beside:
    """A trainer of TRL over the rows: the batch it makes, its loss of it, and our log-probabilities of the same."""

    def __init__(self, trainer, ids, attention, mask, loss):
        self.trainer, self.ids, self.attention, self.mask, self.their_loss = trainer, ids, attention, mask, loss

    def logits(self, model):
        return model(input_ids=self.ids, attention_mask=self.attention).logits

    def logps(self) -> dict[str, torch.Tensor]:
        """Return log-probabilities and lengths by the names of our arguments; where there is no reference, zeros."""
        sums, lengths = sequence_logps(self.logits(self.trainer.model), self.ids, self.mask)
        reference = torch.zeros_like(sums)
        if getattr(self.trainer, "ref_model", None) is not None:
            with torch.no_grad():
                reference = sequence_logps(self.logits(self.trainer.ref_model), self.ids, self.mask)[0]
        found = dict(zip(LOGPS, (*sums.chunk(2), *reference.chunk(2)), strict=True))
        return found | dict(zip(("chosen_lengths", "rejected_lengths"), lengths.chunk(2), strict=True))

    def gradient(self, backward) -> torch.Tensor:
        """Return the gradient of all of the model's parameters after `backward`, as one vector."""
        self.trainer.model.zero_grad()
        backward()
        return torch.cat([p.grad.flatten() for p in self.trainer.model.parameters() if p.grad is not None])

    def agrees(self, ours: torch.Tensor) -> None:
        """Hold our loss, and what it does to every parameter, against theirs; they compute in float32."""
        theirs = self.their_loss()
        assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=2e-6)
        expected = self.gradient(theirs.backward)
        assert float(expected.norm()) > 1e-2
        torch.testing.assert_close(self.gradient(ours.backward), expected, rtol=1e-4, atol=2e-6)


@pytest.fixture
def dpo(tokenizer, tmp_path):
    """Return a function that makes TRL's DPOTrainer with the options given."""

    def make(**options) -> Beside:
        config = DPOConfig(output_dir=str(tmp_path), report_to=[], use_cpu=True, bf16=False, **options)
        trainer = DPOTrainer(
            model=small_model(0), ref_model=small_model(1), args=config, train_dataset=Dataset.from_list(ROWS),
            processing_class=tokenizer,
        )  # fmt: skip
        batch = trainer.data_collator(list(trainer.train_dataset))
        return Beside(
            trainer, batch["input_ids"], batch["attention_mask"], batch["completion_mask"],
            lambda: trainer.compute_loss(trainer.model, batch),
        )  # fmt: skip

    return make


@pytest.fixture
def cpo(tokenizer, tmp_path):
    """Return a function that makes TRL's CPOTrainer, which has no reference, with the options given."""

    def make(**options) -> Beside:
        config = CPOConfig(
            output_dir=str(tmp_path), report_to=[], use_cpu=True, bf16=False, remove_unused_columns=False, **options
        )
        trainer = CPOTrainer(
            model=small_model(0), args=config, train_dataset=Dataset.from_list(ROWS), processing_class=tokenizer
        )
        batch = trainer.data_collator(list(trainer.train_dataset))
        both = trainer.concatenated_inputs(batch, padding_value=0)
        return Beside(
            trainer, both["concatenated_input_ids"], both["concatenated_attention_mask"],
            both["concatenated_labels"] != -100, lambda: trainer.get_batch_loss_metrics(trainer.model, batch)[0],
        )  # fmt: skip

    return make


def taken(loss, logps, **knobs):
    """Return the mean of a loss over the pairs; what it does not take is left out."""
    names = [name for name in inspect.signature(loss).parameters if name in logps]
    return loss(**{name: logps[name] for name in names}, **knobs).mean()


@pytest.mark.parametrize(
    ("loss", "options", "knobs"),
    [
        (dpo_loss, {"loss_type": "sigmoid", "beta": 0.2}, {"beta": 0.2}),
        (length_normalized_dpo_loss, {"loss_type": "sigmoid_norm", "beta": 2.0}, {"beta": 2.0}),
        (hinge_loss, {"loss_type": "hinge", "beta": 0.05}, {"beta": 0.05}),
        (length_normalized_ipo_loss, {"loss_type": "ipo", "beta": 0.5}, {"beta": 0.5}),
        (
            robust_dpo_loss,
            {"loss_type": "robust", "beta": 0.2, "label_smoothing": 0.1},
            {"beta": 0.2, "label_smoothing": 0.1},
        ),
    ],
    ids=["sigmoid", "sigmoid_norm", "hinge", "ipo", "robust"],
)
def test_loss_and_gradient_are_those_of_trl(dpo, loss, options, knobs):
    beside = dpo(**options)
    beside.agrees(taken(loss, beside.logps(), **knobs))


@pytest.mark.parametrize(
    ("method", "loss_type"),
    [
        (pt.DPO(dpo_beta=0.2), "sigmoid"),
        (pt.DPO(dpo_beta=2.0, dpo_normalize_logratios_by_length=True), "sigmoid_norm"),
    ],
    ids=["sigmoid", "sigmoid_norm"],
)
def test_from_logits_straight_to_the_gradient_is_the_same_as_trl(dpo, method, loss_type):
    beside = dpo(loss_type=loss_type, beta=method.dpo_beta)
    theirs = beside.their_loss()
    expected = beside.gradient(theirs.backward)
    references = {name: values for name, values in beside.logps().items() if name.startswith("reference")}
    logits = beside.logits(beside.trainer.model)
    found, gradient = preference_loss_and_gradient(logits, beside.ids, beside.mask, **references, method=method)
    assert float(found.mean) == pytest.approx(float(theirs.detach()), rel=2e-6)
    torch.testing.assert_close(beside.gradient(lambda: logits.backward(gradient)), expected, rtol=1e-4, atol=2e-6)


def test_rewards_accuracy_and_margin_are_those_that_trl_logs(dpo):
    beside = dpo(loss_type="sigmoid", beta=0.2)
    beside.their_loss()
    logged = next(found for found in beside.trainer._metrics.values() if found)
    found = preference_loss(**beside.logps(), method=pt.DPO(dpo_beta=0.2))
    theirs = [logged[f"rewards/{name}"][0] for name in ("chosen", "rejected", "accuracies", "margins")]
    ours = [found.rewards_chosen.mean(), found.rewards_rejected.mean(), found.accuracy, found.margin]
    assert [float(value.detach()) for value in ours] == pytest.approx(theirs, rel=1e-5)


def test_rewards_are_per_token_where_the_loss_is_while_trl_logs_those_of_whole_answers(dpo):
    beside = dpo(loss_type="sigmoid_norm", beta=2.0)
    beside.their_loss()
    logged = next(found for found in beside.trainer._metrics.values() if found)
    logps = beside.logps()
    found = preference_loss(**logps, method=pt.DPO(dpo_beta=2.0, dpo_normalize_logratios_by_length=True))
    whole = (found.rewards_chosen * logps["chosen_lengths"]).mean()
    assert float(whole.detach()) == pytest.approx(logged["rewards/chosen"][0], rel=1e-5)
    assert float(found.rewards_chosen.mean().detach()) != pytest.approx(logged["rewards/chosen"][0], rel=0.1)


def test_the_sft_term_of_trl_is_the_batch_token_form_of_the_nll(dpo):
    beside = dpo(loss_type=["sigmoid", "sft"], loss_weights=[1.0, 0.5], beta=0.2)
    logps, method = beside.logps(), pt.DPO(dpo_beta=0.2, rpo_alpha=0.5)
    beside.agrees(preference_loss(**logps, method=method, nll="batch-token").mean)
    of_sequences = preference_loss(**beside.logps(), method=method).mean
    assert float(of_sequences.detach()) != pytest.approx(float(beside.their_loss().detach()), rel=2e-4)


def test_for_pairs_of_one_length_the_two_forms_of_the_nll_are_one(dpo):
    beside = dpo(loss_type=["sigmoid", "sft"], loss_weights=[1.0, 0.5], beta=0.2)
    beside.mask[:3, 1:] = 0
    beside.mask[:3, 4:6] = 1  # two tokens of every chosen answer; what the model reads stays as it is
    beside.agrees(preference_loss(**beside.logps(), method=pt.DPO(dpo_beta=0.2, rpo_alpha=0.5)).mean)


def test_ipo_of_whole_answers_is_another_loss_than_the_one_per_token_that_trl_has(dpo):
    beside = dpo(loss_type="ipo", beta=0.5)
    whole = taken(ipo_loss, beside.logps(), beta=0.5)
    assert float(whole.detach()) != pytest.approx(float(beside.their_loss().detach()), rel=0.1)


def test_trl_leaves_label_smoothing_out_of_sigmoid(dpo):
    beside = dpo(loss_type="sigmoid", beta=0.2, label_smoothing=0.1)
    beside.agrees(taken(dpo_loss, beside.logps(), beta=0.2))


@pytest.mark.parametrize(
    ("loss", "options", "knobs"),
    [
        (reference_free_dpo_loss, {"loss_type": "sigmoid", "beta": 0.2}, {"beta": 0.2}),
        (
            conservative_dpo_loss,
            {"loss_type": "sigmoid", "beta": 0.2, "label_smoothing": 0.1},
            {"beta": 0.2, "label_smoothing": 0.1},
        ),
        (hinge_loss, {"loss_type": "hinge", "beta": 0.05}, {"beta": 0.05}),
        (length_normalized_ipo_loss, {"loss_type": "ipo", "beta": 0.5}, {"beta": 0.5}),
        (simpo_loss, {"loss_type": "simpo", "beta": 2.0, "simpo_gamma": 0.7}, {"beta": 2.0, "gamma": 0.7}),
    ],
    ids=["sigmoid", "label_smoothing", "hinge", "ipo", "simpo"],
)
def test_loss_and_gradient_are_those_of_trl_without_a_reference(cpo, loss, options, knobs):
    beside = cpo(cpo_alpha=0.0, **options)
    beside.agrees(taken(loss, beside.logps(), **knobs))


@pytest.mark.parametrize(
    ("method", "options"),
    [
        (pt.DPO(dpo_beta=2.0, simpo_gamma=0.7, rpo_alpha=0.5), {"loss_type": "simpo", "simpo_gamma": 0.7}),
        (pt.DPO(dpo_beta=2.0, dpo_reference_free=True, rpo_alpha=0.5), {"loss_type": "sigmoid"}),
    ],
    ids=["simpo", "cpo"],
)
def test_the_nll_of_cpo_is_the_batch_token_form(cpo, method, options):
    beside = cpo(cpo_alpha=0.5, beta=2.0, **options)
    beside.agrees(preference_loss(**beside.logps(), method=method, nll="batch-token").mean)


def drawn(seed: int = 7, size: int = 9) -> dict[str, torch.Tensor]:
    """Log-probabilities of pairs, with gradients where the policy gave them."""
    random = torch.Generator().manual_seed(seed)
    sides = [-100 * torch.rand(size, generator=random, dtype=torch.float64) for _ in LOGPS]
    return {name: side.requires_grad_(name.startswith("policy")) for name, side in zip(LOGPS, sides, strict=True)}


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (DPOLoss(beta=0.3), lambda logps: dpo_loss(**logps, beta=0.3)),
        (
            DPOLoss(beta=0.3, label_smoothing=0.2),
            lambda logps: conservative_dpo_loss(**logps, beta=0.3, label_smoothing=0.2),
        ),
        (RSOLoss(gamma=0.05), lambda logps: hinge_loss(**logps, beta=0.05)),
    ],
    ids=["dpo", "label-smoothing", "rso"],
)
def test_losses_and_gradients_are_those_of_torchtune(theirs, ours):
    logps = drawn()
    found, (expected, *_) = ours(logps), theirs(*logps.values())
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-14)
    sides = [logps[name] for name in LOGPS[:2]]
    gradients = [torch.autograd.grad(losses.sum(), sides) for losses in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-11, atol=1e-14)


def test_rewards_are_those_of_torchtune():
    logps = drawn()
    found = preference_loss(**logps, method=pt.DPO(dpo_beta=0.3))
    _, chosen, rejected = DPOLoss(beta=0.3)(*logps.values())
    torch.testing.assert_close((found.rewards_chosen.detach(), found.rewards_rejected.detach()), (chosen, rejected))


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=["float64", "float32"])
def test_log_probabilities_and_their_gradients_are_those_of_torchtune(dtype, rtol):
    random = torch.Generator().manual_seed(3)
    logits = (4 * torch.randn(5, 12, 33, generator=random, dtype=torch.float64)).to(dtype).requires_grad_()
    labels = torch.randint(0, 33, (5, 12), generator=random)
    mask = torch.rand(5, 12, generator=random) < 0.6
    mask[:, 0] = False
    padded = labels.masked_fill(~mask, -100)
    sums, lengths = sequence_logps(logits, padded, mask)
    expected = rlhf.get_batch_log_probs(logits, padded)
    torch.testing.assert_close(sums.to(dtype), expected, rtol=rtol, atol=0)
    means = rlhf.get_batch_log_probs(logits, padded, return_average_logprobs=True)
    nll = chosen_nll(policy_chosen_logps=sums, chosen_lengths=lengths)
    torch.testing.assert_close(-nll.to(dtype), means, rtol=rtol, atol=0)
    pull = torch.arange(1.0, 6.0, dtype=torch.float64)
    found, theirs = (torch.autograd.grad((each * pull).sum(), logits)[0] for each in (sums, expected))
    torch.testing.assert_close(found, theirs, rtol=10 * rtol, atol=rtol)
