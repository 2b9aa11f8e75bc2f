"""What a job is asked to do: typed, checked, in the nested form of the wire or flat as keywords.

Field names are the wire's, since the hosted documentation is their manual. Bounds are the documented ones; a
model's own limits are the server's to say. Source: docs/wire.md, Create and Hyper-parameters.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias, Unpack

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from preftune.api.nesting import FLAT, nested
from preftune.errors import ConfigError, ConfigWarning
from preftune.losses.method import DPO, Finite, Knobs, NotNegative, Positive, within

if TYPE_CHECKING:
    from preftune.api.fields import JobFields

__all__ = ["DPO", "SFT", "CosineSchedule", "FullFineTuning", "JobConfig", "LinearSchedule", "LoRA", "MultimodalParams"]

Share: TypeAlias = Annotated[Finite, within(0, 1)]
Count: TypeAlias = Annotated[int, within(1)]
_STEP = re.compile(r"(.+):([0-9]{1,15})", re.DOTALL)  # of a checkpoint's address
MAX_SUFFIX = 64  # the quickstart's figure; the command line's help says 40


def _below_one(value: float) -> float:
    if value >= 1:
        raise PydanticCustomError("below_one", "must be below 1, found {value}", {"value": value})
    return value


def _batch(value: object) -> object:
    if value == "max" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise PydanticCustomError(
        "batch", "must be 'max' or a whole number of at least 1, found {value}", {"value": repr(value)}
    )


def _suffix(value: str) -> str:
    if len(value) > MAX_SUFFIX:
        text = "must have at most {most} characters, found {count}"
        raise PydanticCustomError("short", text, {"most": MAX_SUFFIX, "count": len(value)})
    if not value.isprintable() or value.startswith(".") or ".." in value or re.search(r"[\s/\\:]", value):
        text = (
            "must be a part of a name, without spaces, slashes, colons and leading or double dots, found {value}; "
            "letters, digits, '-', '_' and '.' are safe"
        )
        raise PydanticCustomError("name", text, {"value": repr(value)})
    return value


class SFT(Knobs):
    """Supervised fine-tuning; `train_on_inputs` says whether the prompt's tokens are learned too."""

    method: Literal["sft"] = Field(default="sft", repr=False)
    train_on_inputs: bool | Literal["auto"] = "auto"


class LoRA(Knobs):
    """A low-rank adapter; a rank or alpha of None leaves the choice to the model's limits."""

    type: Literal["Lora"] = Field(default="Lora", repr=False)
    lora_r: Annotated[int, within(1, 64)] | None = None
    lora_alpha: Count | None = None
    lora_dropout: Annotated[NotNegative, AfterValidator(_below_one)] = 0.0
    lora_trainable_modules: str = "all-linear"


class FullFineTuning(Knobs):
    """All weights are trained."""

    type: Literal["Full"] = Field(default="Full", repr=False)


class LinearSchedule(Knobs):
    """The rate falls linearly to `min_lr_ratio` of its peak."""

    lr_scheduler_type: Literal["linear"] = Field(default="linear", repr=False)
    min_lr_ratio: Share = 0.0


class CosineSchedule(Knobs):
    """The rate falls along a cosine of `num_cycles` cycles to `min_lr_ratio` of its peak."""

    lr_scheduler_type: Literal["cosine"] = Field(default="cosine", repr=False)
    min_lr_ratio: Share = 0.0
    num_cycles: Positive = 0.5


class MultimodalParams(Knobs):
    """Whether the vision part of the model is trained."""

    train_vision: bool = False


Method: TypeAlias = Annotated[SFT | DPO, Field(discriminator="method")]
TrainingType: TypeAlias = Annotated[LoRA | FullFineTuning, Field(discriminator="type")]
Schedule: TypeAlias = Annotated[LinearSchedule | CosineSchedule, Field(discriminator="lr_scheduler_type")]


class JobConfig(Knobs):
    """A training job. Exactly one of `model` and `from_checkpoint` (`ft-…[:step]` or an output name) is given.

    Warns (ConfigWarning) about what is legal and probably not wanted; raises pydantic's ValidationError, a ValueError,
    about what is not legal. Files may be missing here: `create` and `sft_then_dpo` fill or ask for them.
    """

    model_config = ConfigDict(hide_input_in_errors=True)  # the input may hold a W&B key or a token

    if TYPE_CHECKING:  # both forms, for type checkers and editors

        def __init__(self, **fields: Unpack[JobFields]) -> None: ...

    model: str | None = None
    from_checkpoint: str | None = None
    training_file: str | None = None
    validation_file: str | None = None
    training_method: Method = SFT()
    training_type: TrainingType | None = None
    train_on_inputs: bool | Literal["auto"] | None = None  # the deprecated top-level name; SFT takes it over
    packing: bool = True
    max_seq_length: Count | None = None
    n_epochs: Annotated[int, within(1, 20)] = 1
    n_checkpoints: Count = 1
    n_evals: Annotated[int, within(0, 100)] = 0
    batch_size: Annotated[int | Literal["max"], BeforeValidator(_batch)] = "max"
    gradient_accumulation_steps: Count | None = None
    learning_rate: Annotated[Finite, within(1e-8, 0.01)] = 1e-5
    lr_scheduler: Schedule = CosineSchedule()
    warmup_ratio: Share = 0.0
    max_grad_norm: NotNegative = 1.0
    weight_decay: NotNegative = 0.0
    random_seed: Annotated[int, within(0)] | None = None
    suffix: Annotated[str, AfterValidator(_suffix)] | None = None
    early_stopping_enabled: bool = False
    early_stopping_patience: Count = 2
    early_stopping_min_delta: NotNegative = 0.0
    early_stopping_warmup_evals: Annotated[int, within(0)] = 1
    multimodal_params: MultimodalParams | None = None
    wandb_key: str | None = Field(None, repr=False)
    wandb_base_url: str | None = None
    wandb_project_name: str | None = None
    wandb_name: str | None = None
    wandb_entity: str | None = None
    from_hf_model: str | None = None
    hf_model_revision: str | None = None
    hf_api_token: str | None = Field(None, repr=False)
    hf_output_repo_name: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _nest(cls, data: object) -> object:
        """Bring the flat form into the nested one, and leave the nested one as it is."""
        return nested(data, cls.model_fields) if isinstance(data, Mapping) else data

    @model_validator(mode="after")
    def _fits_together(self, info: ValidationInfo) -> Self:
        _refuse(bool(self.model) == bool(self.from_checkpoint), self._model_message())
        _refuse(
            bool(self.from_hf_model and self.from_checkpoint),
            "from_hf_model and from_checkpoint exclude each other; keep one of them",
        )
        _refuse(
            bool(self.hf_model_revision and not self.from_hf_model),
            "hf_model_revision needs from_hf_model; name the model, or drop the revision",
        )
        _refuse(
            bool(self.training_file and self.n_evals and not self.validation_file),
            f"n_evals is {self.n_evals}, but there is no validation_file to evaluate on; give one, or set n_evals to 0",
        )
        _refuse(
            not self.packing and self.max_seq_length is None,
            "packing is False, but max_seq_length is not set; rows are padded to it, so give it",
        )
        self._check_early_stopping()
        for sentence in self._advice():
            if sentence not in (info.context or ()):
                warnings.warn(sentence, ConfigWarning, stacklevel=_outside())
        return self

    def _model_message(self) -> str:
        found = "both" if self.model else "neither"
        return f"expected exactly one of model and from_checkpoint, found {found}; a checkpoint brings its model along"

    def _check_early_stopping(self) -> None:
        if not self.early_stopping_enabled:
            return
        needed = self.early_stopping_patience + self.early_stopping_warmup_evals + 1
        _refuse(
            self.n_evals < needed,
            f"early stopping needs {needed} evaluations (patience + warm-up + 1), found n_evals={self.n_evals}",
        )
        _refuse(
            bool(self.training_file and not self.validation_file),
            "early stopping watches the validation loss, but there is no validation_file; give one",
        )

    def _advice(self) -> list[str]:
        """Return a sentence for each thing that is legal and probably not wanted."""
        if not isinstance(self.training_method, DPO):
            return []
        ignored = "train_on_inputs is ignored by preference tuning, which scores answers alone; it is not sent"
        return self.training_method.advice() + ([ignored] if self.train_on_inputs is not None else [])

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Show what was set; the rest is the documented default."""
        yield from ((name, value) for name, value in super().__repr_args__() if name in self.model_fields_set)

    def replace(self, **fields: Any) -> JobConfig:
        """Return a copy with other values, checked anew; None is the default. What was warned about is not repeated."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return JobConfig.model_validate({**given, **fields}, context=self._advice())

    def to_wire(self) -> dict[str, Any]:
        """Return the body of the create request: what is None is left out, secrets are included."""
        body = self.model_dump(exclude_none=True, exclude={"training_method", "lr_scheduler", "train_on_inputs"})
        if not self.early_stopping_enabled:
            for name in ("early_stopping_patience", "early_stopping_min_delta", "early_stopping_warmup_evals"):
                body.pop(name)
        schedule = self.lr_scheduler.model_dump()
        kind = schedule.pop("lr_scheduler_type")
        body["lr_scheduler"] = {"lr_scheduler_type": kind, "lr_scheduler_args": schedule}
        body["training_method"] = method_to_wire(self.training_method)
        return body

    def explain(self) -> str:
        """Return the effective loss in words and formula, and what is implied or ignored and why."""
        from preftune.api.explain import explain  # noqa: PLC0415 - explain reads this class

        return explain(self)

    @classmethod
    def from_file(cls, path: str | Path) -> JobConfig:
        """Return the configuration in a .json or .toml file. Raises ConfigError, naming file and field."""
        path = Path(path)
        try:
            return cls(**load_fields(path))
        except ValidationError as error:
            raise ConfigError(f"{path}: {first_fault(error)}") from None


def method_to_wire(method: SFT | DPO) -> dict[str, Any]:
    """Return the training_method block: SimPO carries the two switches it implies, knobs at 0 are left out."""
    block = method.model_dump()
    if isinstance(method, DPO):
        block |= {
            "dpo_normalize_logratios_by_length": method.is_normalized,
            "dpo_reference_free": method.is_reference_free,
        }
        block = {name: value for name, value in block.items() if name not in ("rpo_alpha", "simpo_gamma") or value}
    return block


def split_checkpoint(address: str) -> tuple[str, int | None]:
    """Return name and step of a checkpoint's address; only digits after the last colon are a step."""
    found = _STEP.fullmatch(address)
    return (found[1], int(found[2])) if found else (address, None)


def first_fault(error: ValidationError) -> str:
    """Return the first fault that pydantic found as one phrase: where, and what; never the value of a secret."""
    fault = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in fault["loc"] if part in JobConfig.model_fields or part in FLAT)
    return f"{where}: {fault['msg']}" if where else str(fault["msg"])


def _refuse(wrong: bool, sentence: str) -> None:  # noqa: FBT001 - a condition and its sentence read as one
    if wrong:
        raise PydanticCustomError("unfit", "{sentence}", {"sentence": sentence})


def load_fields(path: Path) -> dict[str, Any]:
    """Return the fields that a .json or .toml file holds. Raises ConfigError, naming the file."""
    if path.suffix not in (".json", ".toml"):
        raise ConfigError(f"{path}: expected a .json or .toml file, found {path.suffix or 'no extension'!r}; rename it")
    try:
        text = path.read_text(encoding="utf-8")
        fields = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: cannot be read, {getattr(error, 'strerror', None) or error}; check the path"
        ) from None
    except ValueError as error:
        raise ConfigError(f"{path}: not {path.suffix[1:].upper()}, {error}; mend that place") from None
    if not isinstance(fields, dict):
        raise ConfigError(f"{path}: expected an object of fields, found {type(fields).__name__}; write field: value")
    return fields


def _outside() -> int:
    """Return the stack level of the first frame that is neither ours nor pydantic's: the user's own line."""
    level, frame = 1, sys._getframe(1)  # noqa: SLF001 - the standard library's way to a caller
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in ("preftune", "pydantic"):
        level, frame = level + 1, frame.f_back
    return level
