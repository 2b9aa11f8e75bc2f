"""What a configuration will do, in words and in formula."""

from __future__ import annotations

from collections.abc import Iterator

from preftune.api.config import DPO, SFT, FullFineTuning, JobConfig, LoRA


def explain(config: JobConfig) -> str:
    """Return the effective loss, what the knobs imply, what is ignored and why, and advice."""
    return "\n".join(_lines(config))


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
    pair = "whose two sides count alike" if method.is_reference_free else "that is not learned at all"
    yield f"A pair {pair} has the loss {method.baseline:.4g}" + (" (plus the NLL term)." if nll else ".")
    yield from (f"Advice: {sentence}." for sentence in method.advice())


def _ratio(method: DPO, side: str) -> str:
    ratio = f"log p({side})" if method.is_reference_free else f"log[p({side}) / p_ref({side})]"
    return f"{ratio} / tokens({side})" if method.is_normalized else ratio


def _training(config: JobConfig) -> Iterator[str]:
    schedule = config.lr_scheduler.lr_scheduler_type
    warmup = f" after a warm-up of {config.warmup_ratio:.0%} of the steps" if config.warmup_ratio else ""
    accumulated = f" x {config.gradient_accumulation_steps}" if config.gradient_accumulation_steps else ""
    yield (
        f"Trains {_trained(config)} for {config.n_epochs} epoch{'s'[: config.n_epochs != 1]}, "
        f"batch {config.batch_size}{accumulated}, peak rate {config.learning_rate:g}, {schedule} schedule{warmup}."
    )
    if config.early_stopping_enabled:
        yield (
            f"Stops early after {config.early_stopping_patience} evaluations without improvement; "
            "the best step becomes the result."
        )
    if not config.max_grad_norm:
        yield "max_grad_norm is 0: gradients are not clipped."
    yield from (f"Ignored: {sentence}." for sentence in _ignored(config))


def _trained(config: JobConfig) -> str:
    if isinstance(config.training_type, FullFineTuning):
        return "all weights"
    if isinstance(config.training_type, LoRA):
        return "a LoRA adapter"
    return "what the parent job trained" if config.from_checkpoint else "the model's default (LoRA)"


def _ignored(config: JobConfig) -> Iterator[str]:
    """Yield a sentence for each knob that was set and has no effect."""
    if config.validation_file and not config.n_evals:
        yield "validation_file, since n_evals is 0"
    stopping = ("early_stopping_patience", "early_stopping_min_delta", "early_stopping_warmup_evals")
    idle = [name for name in stopping if name in config.model_fields_set]
    if idle and not config.early_stopping_enabled:
        yield f"{', '.join(idle)}, since early_stopping_enabled is False"
    logging = [name for name in sorted(config.model_fields_set) if name.startswith("wandb_") and name != "wandb_key"]
    if logging and not config.wandb_key:
        yield f"{', '.join(logging)}, since there is no wandb_key"
