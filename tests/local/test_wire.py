import inspect
import typing

import pytest
from pydantic import TypeAdapter, ValidationError
from typing_extensions import is_typeddict

from preftune.api.config import JobConfig
from preftune.local import store, wire

TYPES = {name: value for name, value in vars(wire).items() if is_typeddict(value) and value.__module__ == wire.__name__}
CHECKSUM = "ab" * 32
FILE = {
    "id": "file-1",
    "object": "file",
    "created_at": 1,
    "filename": "a.jsonl",
    "bytes": 2,
    "purpose": "fine-tune",
    "FileType": "jsonl",
    "processing_status": "QUEUED",
    "Processed": False,
    "LineCount": 0,
}


def reads(name, value):
    try:
        return TypeAdapter(getattr(wire, name)).validate_python(value, strict=True) == value
    except ValidationError:
        return False


@pytest.mark.parametrize("name", sorted(TYPES))
def test_every_object_can_be_described_and_says_what_it_is(name):
    schema = TypeAdapter(TYPES[name]).json_schema()
    assert (schema["type"], schema["title"], schema["description"]) == ("object", name, inspect.getdoc(TYPES[name]))
    assert set(schema["properties"]) == set(typing.get_type_hints(TYPES[name]))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"validation_report": {"file_id": "file-1", "valid": True, "dataset_format": None, "nlines": 3}}, True),
        ({"validation_report": {"valid": True}}, False),
        ({"purpose": "assistants"}, False),
        ({"FileType": "txt"}, False),
        ({"processing_status": "DONE"}, False),
        ({"created_at": "1"}, False),
    ],
)
def test_a_file_is_of_the_words_that_the_wire_has_for_it(change, expected):
    assert reads("File", FILE | change) is expected


@pytest.mark.parametrize(
    ("checksum", "expected"), [(CHECKSUM, True), (CHECKSUM.upper(), True), ("ab", False), (CHECKSUM[:-1] + "x", False)]
)
@pytest.mark.parametrize(("name", "more"), [("PartsRequest", {"file_size": 1, "num_parts": 1}), ("UploadFields", {})])
def test_a_checksum_is_sha_256_in_hex(name, more, checksum, expected):
    assert reads(name, {"file_name": "a.jsonl", "checksum": checksum} | more) is expected


def test_what_an_object_may_leave_out_is_not_required():
    names = ("Error", "PriceRequest", "UploadFields")
    required = {name: TypeAdapter(TYPES[name]).json_schema()["required"] for name in names}
    assert required == {"Error": ["error"], "PriceRequest": ["training_file"], "UploadFields": ["file_name"]}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"training_file": "f"}, True),
        ({"training_file": "f", "model": "m", "batch_size": "max", "train_on_inputs": "auto"}, True),
        ({"training_file": "f", "validation_file": None, "batch_size": None, "suffix": ""}, True),
        ({"training_file": "f", "batch_size": "most"}, False),
        ({"training_file": "f", "n_epochs": "2"}, False),
        ({"model": "m"}, False),
    ],
)
def test_a_request_for_a_job_leaves_out_or_empties_what_is_the_default(body, expected):
    assert reads("CreateRequest", body) is expected


def test_every_field_of_a_job_can_be_asked_for():
    assert set(JobConfig.model_fields) - set(typing.get_type_hints(wire.CreateRequest)) == set()


def test_a_price_is_told_apart_from_none_by_one_word():
    price = TypeAdapter(wire.Price | wire.NoPrice)
    none = {"estimation_available": False, "unavailable_reason": "train_file_invalid"}
    assert price.validate_python(none) == none
    with pytest.raises(ValidationError):
        price.validate_python(none | {"estimation_available": True})


def test_every_state_that_the_store_counts_as_unfinished_is_one_of_a_job():
    known = typing.get_args(typing.get_type_hints(wire.Job)["status"])
    assert set(store.UNFINISHED) < set(known)
    assert set(known) - set(store.UNFINISHED) == {"cancelled", "completed", "error", "user_error"}


def test_a_retrieved_job_says_all_that_a_job_says():
    assert set(typing.get_type_hints(wire.Job)) < set(typing.get_type_hints(wire.FullJob))


def test_a_row_of_metrics_may_hold_null_where_there_is_no_number():
    assert reads("Metrics", {"metrics": [{"train/loss": None, "train/global_step": 1.0}]})
    assert not reads("Metrics", {"metrics": [{"train/loss": "nan"}]})
