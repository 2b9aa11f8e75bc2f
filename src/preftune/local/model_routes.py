"""The routes of what is asked before a job: limits, prices, a look at the tokens. Source: docs/wire.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from preftune.local import limits
from preftune.local.database import Record
from preftune.local.reading import Json, integer, read_json, text
from preftune.local.refusal import Refused
from preftune.local.store import Store

if TYPE_CHECKING:
    from preftune.local import wire

_MOST_ROWS, _ROWS = 50, 5  # of a preview: at most, and unless told otherwise


class ModelRoutes:
    """The handlers of models and what is asked of them, over one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def limits(self, request: Request) -> Response:
        """Say what a model can be asked for; every name is a model."""
        return Json(limits.limits(text(request.query_params, "model_name", needed=True)))

    async def supported(self, _: Request) -> Response:
        """List a few models as examples."""
        found: wire.Models = {"models": list(limits.EXAMPLE_MODELS)}
        return Json(found)

    async def estimate_price(self, request: Request) -> Response:
        """Say what a job costs, which is nothing, or why that cannot be said yet."""
        from preftune.local.admission import check_method  # noqa: PLC0415 - it brings pydantic

        body = await read_json(request)
        check_method(body)
        files = {"train": self._named_file(body, "training_file")}
        if body.get("validation_file"):
            files["eval"] = self._named_file(body, "validation_file")
        for split, record in files.items():
            if record["status"] != "COMPLETED":
                unfit = record["status"] in ("INVALID_FORMAT", "FAILED")
                reason = "file_invalid" if unfit else "file_not_validated"
                return Json({"estimation_available": False, "unavailable_reason": f"{split}_{reason}"})
        epochs = integer(body, "n_epochs", least=0, most=limits.MAX_EPOCHS) or 1
        evals = integer(body, "n_evals", least=0, most=limits.MAX_EVALS) or 0
        held_out = files["eval"]["bytes"] if "eval" in files else 0  # a byte is a token here
        price: wire.Price = {
            "estimation_available": True,
            "allowed_to_proceed": True,
            "estimated_total_price": 0.0,
            "estimated_train_token_count": files["train"]["bytes"] * epochs,
            "estimated_eval_token_count": held_out * evals,
            "user_limit": 1e9,
        }
        return Json(price)

    async def preview(self, request: Request) -> Response:
        """Show the first rows of a supervised file as tokens."""
        from preftune.local import tokenized, validate  # noqa: PLC0415 - they bring NumPy

        body = await read_json(request)
        model, method = text(body, "model", needed=True), text(body, "training_method") or "sft"
        if method != "sft":
            raise Refused(f"training_method is {method!r}; a preview is of 'sft' alone", param="training_method")
        count = integer(body, "top_k", least=1, most=_MOST_ROWS) or _ROWS
        on_inputs = body.get("train_on_inputs")
        if not (on_inputs is None or isinstance(on_inputs, bool) or on_inputs == "auto"):
            raise Refused("train_on_inputs must be true, false or 'auto'", param="train_on_inputs")
        record = self._named_file(body, "training_file")
        if record["status"] != "COMPLETED":
            raise Refused(f"training_file: {record['id']} is {record['status']}, not COMPLETED", param="training_file")
        kind = (record["report"] or {}).get("dataset_format")
        if kind is None or kind == validate.PREFERENCE:
            raise Refused("training_file: a preview is of conversations, prompts or text", param="training_file")
        rows = await run_in_threadpool(
            tokenized.preview, self._store.file_path(record["id"]), kind, count=count, budget=limits.MAX_LENGTH_SFT,
            on_inputs=on_inputs is True,
        )  # fmt: skip
        seen: wire.Preview = {
            "dataset_format": kind,
            "max_seq_length": limits.MAX_LENGTH_SFT,
            "model": model,
            "train_on_inputs": on_inputs is True,
            "rows": rows,
        }
        return Json(seen)

    async def whoami(self, _: Request) -> Response:
        """Say that this is the local project."""
        project: wire.Named = {"id": "local", "name": "local", "slug": "local"}
        organization: wire.Named = {"id": "local", "name": "local"}
        who: wire.WhoAmI = {
            "type": "api_key",
            "api_key": {"id": "local"},
            "organization": organization,
            "project": project,
        }
        return Json(who)

    def _named_file(self, body: Record, name: str) -> Record:
        file_id = text(body, name, needed=True)
        record = self._store.file(file_id)
        if record is None:
            raise Refused(f"{name}: there is no file {file_id}", param=name)
        return record
