"""The objects of the wire, in types: what requests may say and what answers say. Source: docs/wire.md.

The description at /openapi.json is made from these, and the answers are typed by them. An answer says nothing else,
but for a job, which repeats what was asked for.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, WithJsonSchema
from typing_extensions import TypedDict  # pydantic reads the standard library's from Python 3.12 on

from preftune.local.limits import FileType, Purpose


class ErrorDetail(TypedDict):
    """What went wrong; `param` is the field that it is about."""

    message: str
    type: str
    param: str | None
    code: str | None


class Error(TypedDict):
    """Every answer from 400 on; `file_id` where a file with this content is there already."""

    error: ErrorDetail
    file_id: NotRequired[str]


class Report(TypedDict):
    """What was found in a file: `error` is the first fault, its line in front."""

    file_id: str
    valid: bool
    dataset_format: NotRequired[str | None]
    nlines: NotRequired[int]
    error: NotRequired[str]
    error_type: NotRequired[str]


class File(TypedDict):
    """An uploaded file."""

    id: str
    object: Literal["file"]
    created_at: int
    filename: str
    bytes: int
    purpose: Purpose
    FileType: FileType
    processing_status: Literal["PENDING", "QUEUED", "RUNNING", "COMPLETED", "FAILED", "INVALID_FORMAT"]
    Processed: bool
    LineCount: int
    validation_report: NotRequired[Report]


class FileList(TypedDict):
    """All files, newest first."""

    object: Literal["list"]
    data: list[File]


class DeletedFile(TypedDict):
    """A file that is gone."""

    id: str
    object: Literal["file"]
    deleted: bool


class UploadFields(TypedDict):
    """The fields of an upload, as a form; `checksum` is the SHA-256 in hex."""

    file_name: str
    purpose: NotRequired[Purpose]
    file_type: NotRequired[FileType]
    checksum: NotRequired[Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")]]


class UploadFile(UploadFields):
    """A file and its fields in one form."""

    file: Annotated[str, WithJsonSchema({"type": "string", "format": "binary"})]


class PartsRequest(TypedDict):
    """A file that will come in parts."""

    file_name: str
    file_size: int
    num_parts: int
    purpose: NotRequired[Purpose]
    file_type: NotRequired[FileType]
    checksum: NotRequired[Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")]]


class Part(TypedDict):
    """Where to put one part, with which headers."""

    PartNumber: int
    URL: str
    Headers: dict[str, str]


class Parts(TypedDict):
    """Where to put all parts."""

    upload_id: str
    file_id: str
    parts: list[Part]


class UploadedPart(TypedDict):
    """A part that has come, with the entity tag that was answered."""

    part_number: int
    etag: str


class UploadIds(TypedDict):
    """Which upload is meant."""

    upload_id: str
    file_id: str


class CompleteRequest(UploadIds):
    """All parts have come."""

    parts: list[UploadedPart]


class Completed(TypedDict):
    """The file that the parts make."""

    file: File


class Aborted(TypedDict):
    """An upload that is forgotten."""

    upload_id: str
    aborted: bool


class PriceRequest(TypedDict):
    """A job of which the price is asked; 0 and empty text mean the default."""

    training_file: str
    validation_file: NotRequired[str | None]
    model: NotRequired[str | None]
    from_checkpoint: NotRequired[str | None]
    n_epochs: NotRequired[int | None]
    n_evals: NotRequired[int | None]
    training_method: NotRequired[dict[str, Any] | None]
    training_type: NotRequired[dict[str, Any] | None]


class CreateRequest(PriceRequest):
    """A job; docs/wire.md says what each field means and may be. Absent, null and empty text mean the default."""

    packing: NotRequired[bool | None]
    max_seq_length: NotRequired[int | None]
    n_checkpoints: NotRequired[int | None]
    batch_size: NotRequired[int | Literal["max"] | None]
    gradient_accumulation_steps: NotRequired[int | None]
    learning_rate: NotRequired[float | None]
    lr_scheduler: NotRequired[dict[str, Any] | None]
    warmup_ratio: NotRequired[float | None]
    max_grad_norm: NotRequired[float | None]
    weight_decay: NotRequired[float | None]
    random_seed: NotRequired[int | None]
    suffix: NotRequired[str | None]
    early_stopping_enabled: NotRequired[bool | None]
    early_stopping_patience: NotRequired[int | None]
    early_stopping_min_delta: NotRequired[float | None]
    early_stopping_warmup_evals: NotRequired[int | None]
    multimodal_params: NotRequired[dict[str, Any] | None]
    train_on_inputs: NotRequired[bool | Literal["auto"] | None]
    wandb_key: NotRequired[str | None]
    wandb_api_key: NotRequired[str | None]
    wandb_base_url: NotRequired[str | None]
    wandb_project_name: NotRequired[str | None]
    wandb_name: NotRequired[str | None]
    wandb_entity: NotRequired[str | None]
    from_hf_model: NotRequired[str | None]
    hf_model_revision: NotRequired[str | None]
    hf_api_token: NotRequired[str | None]
    hf_output_repo_name: NotRequired[str | None]


class Price(TypedDict):
    """What a job costs, in dollars: nothing, on this machine."""

    estimation_available: Literal[True]
    allowed_to_proceed: bool
    estimated_total_price: float
    estimated_train_token_count: int
    estimated_eval_token_count: int
    user_limit: float


class NoPrice(TypedDict):
    """Why a price cannot be said."""

    estimation_available: Literal[False]
    unavailable_reason: Literal[
        "train_file_not_validated", "eval_file_not_validated", "train_file_invalid", "eval_file_invalid"
    ]


AnyPrice = Price | NoPrice


class BatchLimits(TypedDict):
    """Bounds of a batch."""

    max_batch_size: int
    max_batch_size_dpo: int
    min_batch_size: int


class LoraLimits(BatchLimits):
    """Bounds of an adapter."""

    max_rank: int
    default_rank: int
    target_modules: list[str]


class Limits(TypedDict):
    """What a model can be asked for."""

    model_name: str
    max_num_epochs: int
    max_num_evals: int
    max_num_checkpoints: int
    min_learning_rate: float
    max_learning_rate: float
    min_max_seq_length: int
    max_seq_length_sft: int
    max_seq_length_dpo: int
    default_gradient_accumulation_steps: int
    supports_vision: bool
    supports_tools: bool
    supports_reasoning: bool
    supports_full_training: bool
    merge_output_lora: bool
    lora_training: LoraLimits
    full_training: BatchLimits


class Models(TypedDict):
    """Models that can be tuned."""

    models: list[str]


class PreviewRequest(TypedDict):
    """A file of which the first rows are to be shown as tokens."""

    model: str
    training_file: str
    top_k: NotRequired[int | None]
    train_on_inputs: NotRequired[bool | Literal["auto"] | None]
    training_method: NotRequired[Literal["sft"] | None]


class PreviewRow(TypedDict):
    """One row as tokens: labels of -100 are not learned, spans are half open."""

    input_ids: list[int]
    labels: list[int]
    num_tokens: int
    num_trained_tokens: int
    tokens: list[str]
    trained_spans: list[tuple[int, int]]
    truncated: bool


class Preview(TypedDict):
    """The first rows of a file as tokens."""

    dataset_format: str
    max_seq_length: int
    model: str
    train_on_inputs: bool
    rows: list[PreviewRow]


class Progress(TypedDict):
    """How long until the next state."""

    estimate_available: bool
    seconds_remaining: float


class Event(TypedDict):
    """Something that happened to a job; what is unused is 0 or empty."""

    object: Literal["fine-tune-event"]
    created_at: str
    level: Literal["info", "warning", "error"]
    type: str
    message: str
    step: int
    total_steps: int
    token_count: int
    param_count: int
    checkpoint_path: str
    model_path: str
    wandb_url: str
    training_offset: int
    hash: str


class EventList(TypedDict):
    """What has happened to a job, in order."""

    object: Literal["list"]
    data: list[Event]


class Job(TypedDict):
    """A job, as creation, lists and cancelling give it; what was asked for stands in it too."""

    id: str
    status: Literal[
        "pending", "queued", "running", "uploading", "completed", "cancel_requested", "cancelled", "error", "user_error"
    ]
    created_at: str
    updated_at: str
    started_at: str | None
    user_id: str
    owner_address: str
    total_price: int
    token_count: int
    model: str
    model_output_name: str
    training_file: str
    validation_file: str
    from_checkpoint: str
    training_method: dict[str, Any]
    training_type: dict[str, Any]
    n_epochs: int
    n_evals: int
    n_checkpoints: int
    batch_size: int
    learning_rate: float
    lr_scheduler: dict[str, Any]
    random_seed: int
    suffix: str
    wandb_project_name: str
    wandb_name: str
    events: list[Event]
    progress: Progress
    early_stopped: bool
    early_stopping_best_step: int | None
    early_stopping_best_metric: float | None


class FullJob(Job):
    """A job with all that retrieving it adds."""

    job_id: str
    model_output_path: str
    trainingfile_numlines: int
    trainingfile_size: int
    param_count: int
    total_steps: int
    steps_completed: int
    evals_completed: int
    epochs_completed: int
    eval_steps: int
    queue_depth: int
    wandb_url: str
    tokenized_dataset_path: str | None


class JobList(TypedDict):
    """All jobs, newest first."""

    object: Literal["list"]
    data: list[Job]


class DeletedJob(TypedDict):
    """A job that is gone."""

    message: str


class Checkpoint(TypedDict):
    """Weights that can be downloaded or trained on from."""

    step: int
    created_at: str
    path: str
    checkpoint_type: str
    checkpoint: Literal["model", "adapter"]


class CheckpointList(TypedDict):
    """A job's checkpoints, newest first."""

    data: list[Checkpoint]


class Metrics(TypedDict):
    """Rows of metrics, flat, in time."""

    metrics: list[dict[str, float | None]]


class Download(TypedDict):
    """Where a file lies, signed: no key is needed, and none is to be sent."""

    url: str
    filename: str
    content_type: str
    size: int
    expires_at: str


class Named(TypedDict):
    """Something with a name."""

    id: str
    name: NotRequired[str]
    slug: NotRequired[str]


class WhoAmI(TypedDict):
    """Who asks."""

    type: str
    api_key: Named
    organization: Named
    project: Named
