"""What a configuration will do, in words and in formula."""

from __future__ import annotations

from collections.abc import Iterator

from preftune.api.config import DPO, SFT, FullFineTuning, JobConfig, LoRA


def explain(config: JobConfig) -> str:
    """Return the effective loss, what the knobs imply, what is ignored and why, and advice."""
    return "\n".join(_lines(config))


def explain_method(method: DPO) -> str:
    """Return the effective loss of a preference method alone."""
    return "\n".join(_dpo(method))


def _lines(config: JobConfig) -> Iterator[str]:
    start = f"from checkpoint {config.from_checkpoint}" if config.from_checkpoint else f"from {config.model}"
    if isinstance(config.training_method, SFT):
        yield f"Supervised fine-tuning {start}."
        yield "loss = mean over answer tokens of -log p(token)"
        yield f"train_on_inputs is {config.training_method.train_on_inputs!r}."
    else:
        free = config.training_method.is_reference_free
        reference = "no reference is in the loss" if free else "the reference is the model at the start of the job"
        yield f"Preference tuning {start}; {reference}."
        yield from _dpo(config.training_method)
        if config.train_on_inputs is not None:
            yield "Ignored: train_on_inputs; preference tuning scores answers alone, so it is not sent."
    yield from _training(config)


def _dpo(method: DPO) -> Iterator[str]:
    chosen, rejected = (_ratio(method, side) for side in ("chosen", "rejected"))
    gamma = f" - {method.simpo_gamma:g}" if method.is_simpo else ""
    nll = f" + {method.rpo_alpha:g} * (-log p(chosen) / tokens(chosen))" if method.rpo_alpha else ""
    yield f"loss = -log sigmoid(z){nll}"
    yield f"z = {method.dpo_beta:g} * ({chosen} - {rejected}){gamma}"
    if method.is_simpo:
        yield "Implied by simpo_gamma > 0 (SimPO): no reference (dpo_reference_free), each side divided by its length"
        yield "(dpo_normalize_logratios_by_length); gamma is an absolute margin that dpo_beta does not multiply."
    elif method.is_reference_free:
        yield "dpo_reference_free: the reference model is left out, so nothing holds the policy near its start."
    if method.is_normalized and not method.is_simpo:
        yield "Length-normalised: each side's log-ratio is divided by its own number of answer tokens."
    if method.rpo_alpha:
        yield "rpo_alpha adds the chosen answer's mean NLL per token, which keeps its log-probability from falling."
    yield f"A pair that is not learned at all has the loss {method.baseline:.4g}" + (
        " (plus the NLL term)." if nll else "."
    )
    yield from (f"Advice: {sentence}." for sentence in method.advice())


def _ratio(method: DPO, side: str) -> str:
    ratio = f"log p({side})" if method.is_reference_free else f"log[p({side}) / p_ref({side})]"
    return f"{ratio} / tokens({side})" if method.is_normalized else ratio


def _training(config: JobConfig) -> Iterator[str]:
    kind = config.training_type
    what = (
        "all weights"
        if isinstance(kind, FullFineTuning)
        else "a LoRA adapter"
        if isinstance(kind, LoRA)
        else "the model's default (LoRA)"
    )
    schedule = config.lr_scheduler.lr_scheduler_type
    yield (
        f"Trains {what} for {config.n_epochs} epoch{'s'[: config.n_epochs != 1]}, batch {config.batch_size}, "
        f"peak rate {config.learning_rate:g}, {schedule} schedule."
    )
    if config.early_stopping_enabled:
        yield (
            f"Stops early after {config.early_stopping_patience} evaluations without improvement; "
            "the best step becomes the result."
        )
