"""Two forms of a configuration, one meaning: flat keywords are brought into the blocks that they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import PydanticCustomError

from preftune.losses.method import DPO, Knobs, unknown_key

# flat keyword: the block that it belongs to; knobs of a method decide nothing about which method it is
FLAT: Mapping[str, str] = (
    dict.fromkeys([name for name in DPO.model_fields if name != "method"], "training_method")
    | dict.fromkeys(["lora_r", "lora_alpha", "lora_dropout", "lora_trainable_modules"], "training_type")
    | dict.fromkeys(["lr_scheduler_type", "min_lr_ratio", "num_cycles"], "lr_scheduler")
    | {"train_vision": "multimodal_params"}
)
_TAGS = {"training_method": "method", "training_type": "type", "lr_scheduler": "lr_scheduler_type"}
_WORDS = {"training_method": ("sft", "dpo"), "training_type": ("Lora", "Full"), "lr_scheduler": ("linear", "cosine")}
_ALIASES = {"wandb_api_key": "wandb_key", "scheduler_num_cycles": "num_cycles"}  # the other names that sources use


def nested(data: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields in the nested form, whatever mixture of both came; raise pydantic's error for a contradiction.

    `known` names the fields there are. None is what clients of this API write for what they leave out.
    """
    fields: dict[str, Any] = {}
    blocks: dict[str, dict[str, Any]] = {}
    for given, value in data.items():
        name = _ALIASES.get(given, given)
        if value is None and (name in known or name in FLAT or name == "lora"):
            continue
        if name == "lora":
            fields["training_type"] = {"type": "Lora" if value else "Full"}
        elif name in FLAT:
            blocks.setdefault(FLAT[name], {})[name] = value
        elif name in known:
            fields[name] = _unwrapped(name, value)
        else:
            text = unknown_key(given, "JobConfig", [*known, *FLAT])
            raise PydanticCustomError("unknown_key", "{text}", {"text": text})
    for block, knobs in blocks.items():
        fields[block] = _merged(block, fields.get(block), knobs)
    _lift_train_on_inputs(fields)
    method = fields.get("training_method")
    if method is not None and _tag(method, "method") == "sft" and fields.get("train_on_inputs") is not None:
        fields["training_method"] = _merged("training_method", method, {"train_on_inputs": fields["train_on_inputs"]})
    elif method is None and fields.get("train_on_inputs") is not None:
        fields["training_method"] = {"method": "sft", "train_on_inputs": fields["train_on_inputs"]}
    return fields


def _lift_train_on_inputs(fields: dict[str, Any]) -> None:
    """Move the knob out of a DPO block, where copies of an SFT block leave it: it is ignored there, not refused."""
    method = fields.get("training_method")
    if isinstance(method, Mapping) and method.get("method") == "dpo" and "train_on_inputs" in method:
        fields["training_method"] = {name: value for name, value in method.items() if name != "train_on_inputs"}
        fields.setdefault("train_on_inputs", method["train_on_inputs"])


def _unwrapped(name: str, value: Any) -> Any:
    """Return a block as a mapping with its tag: a plain word is its tag, and the wire's scheduler is flattened."""
    if name in _TAGS and isinstance(value, type):
        text = f"{name}: must be an object, found the class {value.__name__}; write {value.__name__}()"
        raise PydanticCustomError("class_given", "{text}", {"text": text})
    if name in _TAGS and (isinstance(value, str) or (isinstance(value, Mapping) and _TAGS[name] in value)):
        word = value if isinstance(value, str) else value[_TAGS[name]]
        if word not in _WORDS[name]:
            text = f"{name}: must be {' or '.join(map(repr, _WORDS[name]))}, found {word!r}"
            raise PydanticCustomError("unknown_word", "{text}", {"text": text})
    if name in _TAGS and isinstance(value, str):
        return {_TAGS[name]: value}
    if name == "lr_scheduler" and isinstance(value, Mapping) and "lr_scheduler_args" in value:
        return {**{k: v for k, v in value.items() if k != "lr_scheduler_args"}, **(value["lr_scheduler_args"] or {})}
    return value


def _said(given: Knobs | Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what was said about a block, with its tag; what was left to the defaults stays open."""
    if not isinstance(given, Knobs):
        return dict(given or {})
    tags = {name: getattr(given, name) for name in _TAGS.values() if hasattr(given, name)}
    return tags | given.model_dump(exclude_unset=True)


def _merged(block: str, given: Any, knobs: dict[str, Any]) -> Any:
    """Return a block with its flat knobs, refusing knobs that its kind does not have."""
    if not isinstance(given, Knobs | Mapping | None):
        return given  # pydantic says what is wrong with it
    start = _said(given)
    if (
        block == "training_method"
        and start.get("method", "sft") == "sft"
        and any(name.startswith(("dpo_", "rpo_", "simpo_")) for name in knobs)
    ):
        name = next(iter(knobs))
        raise PydanticCustomError(
            "dpo_on_sft",
            "{name} is a knob of DPO, but training_method is 'sft'; say training_method='dpo'",
            {"name": name},
        )
    if block == "training_type":
        start.setdefault("type", "Lora")
    if block == "lr_scheduler":
        start.setdefault("lr_scheduler_type", knobs.get("lr_scheduler_type", "cosine"))
    return {**start, **knobs}


def _tag(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
