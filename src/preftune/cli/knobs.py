"""The knobs of a job as options, for the commands that take a configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

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


def given(knobs: dict[str, Any]) -> dict[str, Any]:
    """Return the knobs that were given."""
    return {name: value for name, value in knobs.items() if value is not None}
