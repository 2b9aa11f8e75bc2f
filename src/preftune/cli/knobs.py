"""A job's configuration from a file, from options, or from both: for the commands that take one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import ValidationError

from preftune.api.config import JobConfig, first_fault, load_fields
from preftune.errors import ConfigError, ConfigWarning

_Command = TypeVar("_Command", bound=Callable[..., Any])

_KNOBS = (
    click.option("--beta", "dpo_beta", type=float, help="dpo_beta, how closely to stay to the start. [default: 0.1]"),
    click.option("--normalize", "dpo_normalize_logratios_by_length", is_flag=True, default=None, help="Per token."),
    click.option("--reference-free", "dpo_reference_free", is_flag=True, default=None, help="Leave the reference out."),
    click.option("--alpha", "rpo_alpha", type=float, help="rpo_alpha, the weight of the chosen side's likelihood."),
    click.option("--gamma", "simpo_gamma", type=float, help="simpo_gamma, the margin of SimPO."),
    click.option("--learning-rate", type=float, help="The rate of the job. [default: 1e-5]"),
)


def knob_options(command: _Command) -> _Command:
    """Give a command the knobs of preference tuning as options."""
    for option in reversed(_KNOBS):
        command = option(command)
    return command


def config_options(command: _Command) -> _Command:
    """Give a command the options from which `config_of` makes a configuration."""
    file = click.Path(path_type=Path)
    command = click.option("--epochs", "n_epochs", type=int, help="Epochs. [default: 1]")(command)
    return click.option("--config", type=file, help="A .toml or .json file with the job's fields.")(
        knob_options(command)
    )


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def config_of(file: Path | None, options: dict[str, Any], **otherwise: Any) -> JobConfig:
    """Return the configuration in a file, or one of preference tuning, with the options that were given over it.

    `otherwise` stands for what neither names. Raises ConfigError, naming the file and the field.
    """
    written = {"training_method": "dpo"} if file is None else load_fields(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConfigWarning)  # the explanation says it
            return JobConfig(**otherwise | written | given(options))
    except ValidationError as error:
        raise ConfigError(f"{file}: {first_fault(error)}" if file else first_fault(error)) from None
