"""Which loss, and with which knobs: the description that a job carries and that the losses read."""

from __future__ import annotations

import difflib
import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError


class Knobs(BaseModel):
    """What a user writes: frozen, strict about names, and helpful about misspelt ones."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _name_the_nearest(cls, data: object) -> object:
        """Refuse a key that is no field, and say which one it probably was."""
        for key in data if isinstance(data, dict) else ():
            if key not in cls.model_fields:
                raise PydanticCustomError(
                    "unknown_key", "{text}", {"text": unknown_key(key, cls.__name__, cls.model_fields)}
                )
        return data


def unknown_key(key: object, owner: str, known: Any) -> str:
    """Return the sentence for a key that is no field."""
    near = difflib.get_close_matches(str(key), list(known), n=1)
    return f"{owner} has no field {str(key)!r}; " + (
        f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
    )


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise PydanticCustomError("finite", "must be a finite number, found {value}", {"value": str(value)})
    return value


def within(low: float, high: float = math.inf) -> AfterValidator:
    """Return the check that a number is from `low` to `high`, both inclusive."""
    expected = f"from {low:g} to {high:g}" if math.isfinite(high) else f"{low:g} or more"

    def check(value: float) -> float:
        if not low <= value <= high:
            raise PydanticCustomError("within", f"must be {expected}, found {{value}}", {"value": value})
        return value

    return AfterValidator(check)


def _positive(value: float) -> float:
    if value <= 0:
        raise PydanticCustomError("positive", "must be greater than 0, found {value}", {"value": value})
    return value


Finite = Annotated[float, AfterValidator(_finite)]
Positive = Annotated[Finite, AfterValidator(_positive)]
NotNegative = Annotated[Finite, within(0)]

# useful range of beta: the hosted documentation, 0.05 to 0.9; the DPO paper took 0.1, and 0.5 for summaries
BETA_LOW, BETA_HIGH = 0.05, 0.9
# per-token log-ratios are small, so beta has to be larger: Tülu 3 takes 5, SimPO 2 to 10
BETA_LOW_NORMALIZED = 1.0


class DPO(Knobs):
    """Direct preference optimisation, with the five knobs of the hosted API.

    `simpo_gamma` above 0 makes the loss reference-free and length-normalised, whatever the two switches say.
    Source: arXiv 2305.18290 eq. 7; SimPO arXiv 2405.14734; the NLL term arXiv 2404.19733.
    """

    method: Literal["dpo"] = Field(default="dpo", repr=False)
    dpo_beta: Positive = 0.1
    dpo_normalize_logratios_by_length: bool = False
    dpo_reference_free: bool = False
    rpo_alpha: NotNegative = 0.0
    simpo_gamma: NotNegative = 0.0

    @property
    def is_simpo(self) -> bool:
        """Tell whether the margin gamma is in force."""
        return self.simpo_gamma > 0

    @property
    def is_normalized(self) -> bool:
        """Tell whether each side's log-ratio is divided by its own length."""
        return self.dpo_normalize_logratios_by_length or self.is_simpo

    @property
    def is_reference_free(self) -> bool:
        """Tell whether the reference model is left out."""
        return self.dpo_reference_free or self.is_simpo

    @property
    def baseline(self) -> float:
        """Return the loss of a pair at zero margin, without the NLL term: ln 2, or softplus(gamma)."""
        return math.log1p(math.exp(-abs(self.simpo_gamma))) + self.simpo_gamma

    @property
    def label(self) -> str:
        """Return the method in a few words, for a legend or the row of a table."""
        words = ["SimPO" if self.is_simpo else "DPO", f"beta {self.dpo_beta:g}"]
        if self.is_simpo:
            words.append(f"gamma {self.simpo_gamma:g}")
        else:
            words += ["per token"] * self.is_normalized + ["no reference"] * self.is_reference_free
        return ", ".join([*words, *([f"alpha {self.rpo_alpha:g}"] if self.rpo_alpha else [])])

    def advice(self) -> list[str]:
        """Return a sentence for each knob that is legal and probably not wanted. Source: docs/losses.md, Advice."""
        found = []
        if not self.is_normalized and not BETA_LOW <= self.dpo_beta <= BETA_HIGH:
            found.append(
                f"dpo_beta is {self.dpo_beta:g}; plain DPO is useful from {BETA_LOW:g} to {BETA_HIGH:g}: "
                "lower follows the preferences harder, higher stays closer to the reference"
            )
        if self.is_normalized and self.dpo_beta < BETA_LOW_NORMALIZED:
            name = "SimPO" if self.is_simpo else "length normalisation"
            found.append(
                f"dpo_beta is {self.dpo_beta:g} with {name}; log-ratios per token are small, so the loss barely moves "
                "below 1; published settings take 2 to 10"
            )
        if self.is_simpo and self.simpo_gamma / self.dpo_beta > 1:
            ratio = self.simpo_gamma / self.dpo_beta
            found.append(
                f"simpo_gamma / dpo_beta is {ratio:.3g}: the margin asks for {ratio:.3g} nats per token; "
                "published settings stay between 0.1 and 0.8"
            )
        return found
