"""What type checkers say of the clients; checked by mypy and basedpyright, never run.

Each ignore below must be necessary: both checkers read it, and report one that is not.
"""

# mypy: disable-error-code="unused-coroutine"
# pyright: reportUnusedCoroutine=false
# types are looked at here, nothing is awaited

from collections.abc import AsyncGenerator, Coroutine, Generator, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO, TextIO, assert_type

import httpx

import preftune
import preftune as pt
from preftune.api.models import (
    Checkpoint,
    DeletedFile,
    DeletedJob,
    Event,
    File,
    FineTuneJob,
    MetricRow,
    ModelLimits,
    Preview,
    PriceEstimate,
)
from preftune.api.steps import Flow, Response


def what_a_user_writes_is_complete() -> None:
    assert_type(pt.DPO(), pt.DPO)
    assert_type(pt.DPO(dpo_beta=0.1, rpo_alpha=0.5, simpo_gamma=0.0, dpo_reference_free=False), pt.DPO)
    assert_type(pt.SFT(train_on_inputs=True), pt.SFT)
    assert_type(pt.LoRA(), pt.LoRA)
    assert_type(pt.FullFineTuning(), pt.FullFineTuning)
    assert_type(pt.JobConfig(model="m", training_method=pt.DPO(), training_type=pt.LoRA(lora_r=8)), pt.JobConfig)
    pt.DPO(beta=0.1)  # type: ignore[call-arg]


def is_bad(rows: Sequence[MetricRow]) -> str | bool:
    return len(rows) > 99 and "it takes too long"


def a_client_is_made_from_its_settings(own: httpx.Client, own_async: httpx.AsyncClient) -> None:
    assert_type(
        pt.Client(api_key="k", deadline=60, proxy="http://h:1", state_dir=Path("s"), http_client=own), pt.Client
    )
    assert_type(pt.AsyncClient(api_key="k", state_dir="", http_client=own_async), pt.AsyncClient)
    assert_type(pt.Client(api_key="k").state_dir, Path | None)
    pt.Client(http_client=own_async)  # type: ignore[arg-type]
    pt.AsyncClient(http_client=own)  # type: ignore[arg-type]


def a_call_returns_its_model(client: pt.Client, config: pt.JobConfig, job: FineTuneJob, file: BinaryIO) -> None:
    assert_type(client.fine_tuning.retrieve("ft-1"), FineTuneJob)
    assert_type(client.fine_tuning.retrieve(job), FineTuneJob)
    assert_type(client.fine_tuning.create(config), FineTuneJob)
    assert_type(client.fine_tuning.create(model="m", training_method="dpo", dpo_beta=0.2), FineTuneJob)
    assert_type(client.fine_tuning.create(config, max_price=20.0, idempotency_key="run-1"), FineTuneJob)
    assert_type(client.fine_tuning.create(model="m", training_file="f", max_price=20), FineTuneJob)
    assert_type(client.fine_tuning.list(), list[FineTuneJob])
    assert_type(client.fine_tuning.list(mine=True), list[FineTuneJob])
    assert_type(client.fine_tuning.last(), FineTuneJob)
    assert_type(client.fine_tuning.cancel("ft-1"), FineTuneJob)
    assert_type(client.fine_tuning.delete("ft-1"), DeletedJob)
    assert_type(client.fine_tuning.wait("ft-1", timeout=3), FineTuneJob)
    assert_type(client.fine_tuning.list_events("ft-1"), list[Event])
    assert_type(client.fine_tuning.list_checkpoints("ft-1"), list[Checkpoint])
    assert_type(client.fine_tuning.list_metrics("ft-1", from_step=2), list[MetricRow])
    assert_type(client.fine_tuning.stream_metrics("ft-1"), Generator[MetricRow, None, None])
    assert_type(client.fine_tuning.stream_metrics("ft-1", cancel_if=is_bad), Generator[MetricRow, None, None])
    assert_type(client.fine_tuning.stream_events("ft-1"), Generator[Event, None, None])
    assert_type(client.fine_tuning.follow("ft-1"), Generator[MetricRow | Event, None, None])
    assert_type(client.fine_tuning.download("ft-1", to="adapter/"), Path)
    assert_type(client.fine_tuning.download("ft-1", to="adapter/", extract=False, progress=print), Path)
    assert_type(client.fine_tuning.estimate_price(config), PriceEstimate)
    assert_type(client.fine_tuning.estimate_price(model="m", training_file="f", n_epochs=2), PriceEstimate)
    assert_type(client.fine_tuning.model_limits("m"), ModelLimits)
    assert_type(client.fine_tuning.supported_models(), list[str])
    assert_type(client.fine_tuning.preview("file-1", model="m", rows=3, train_on_inputs="auto"), Preview)
    assert_type(client.files.upload("pairs.jsonl"), File)
    assert_type(client.files.upload(b"{}", name="pairs.jsonl", check=True, form="direct"), File)
    assert_type(client.files.upload(file, name="pairs.jsonl"), File)
    with Path("pairs.jsonl").open("rb") as opened:
        assert_type(client.files.upload(opened), File)
    assert_type(client.files.download("file-1", to="pairs.jsonl"), Path)
    assert_type(client.files.wait("file-1"), File)
    assert_type(client.files.list(), list[File])
    assert_type(client.files.content("file-1"), bytes)
    assert_type(client.files.delete("file-1"), DeletedFile)
    assert_type(client.request("GET", "/x"), Response)


def an_async_call_returns_a_coroutine_of_its_model(
    client: pt.AsyncClient, config: pt.JobConfig, file: IO[bytes]
) -> None:
    assert_type(client.fine_tuning.retrieve("ft-1"), Coroutine[Any, Any, FineTuneJob])
    assert_type(client.fine_tuning.create(config), Coroutine[Any, Any, FineTuneJob])
    assert_type(
        client.fine_tuning.create(config, max_price=20, idempotency_key="run-1"), Coroutine[Any, Any, FineTuneJob]
    )
    assert_type(client.fine_tuning.list(mine=True), Coroutine[Any, Any, list[FineTuneJob]])
    assert_type(client.fine_tuning.last(), Coroutine[Any, Any, FineTuneJob])
    assert_type(client.fine_tuning.estimate_price(model="m"), Coroutine[Any, Any, PriceEstimate])
    assert_type(client.fine_tuning.download("ft-1", to="a/", extract=False), Coroutine[Any, Any, Path])
    assert_type(client.fine_tuning.preview("file-1", model="m"), Coroutine[Any, Any, Preview])
    assert_type(client.fine_tuning.stream_metrics("ft-1"), AsyncGenerator[MetricRow, None])
    assert_type(client.fine_tuning.stream_events("ft-1"), AsyncGenerator[Event, None])
    assert_type(client.fine_tuning.follow("ft-1"), AsyncGenerator[MetricRow | Event, None])
    assert_type(client.files.upload("pairs.jsonl"), Coroutine[Any, Any, File])
    assert_type(client.files.upload(b"{}", name="pairs.jsonl"), Coroutine[Any, Any, File])
    assert_type(client.files.upload(file), Coroutine[Any, Any, File])
    assert_type(client.files.download("file-1", to=Path("pairs.jsonl")), Coroutine[Any, Any, Path])


async def an_awaited_call_is_its_model(client: pt.AsyncClient, flow: Flow[int]) -> None:
    assert_type(await client.fine_tuning.retrieve("ft-1"), FineTuneJob)
    assert_type(await client.request("GET", "/x"), Response)
    assert_type(await client.run(flow), int)
    async for row in client.fine_tuning.stream_metrics("ft-1"):
        assert_type(row, MetricRow)
    async for item in client.fine_tuning.follow("ft-1", cancel_if=is_bad):
        assert_type(item, MetricRow | Event)


def a_client_stays_of_its_kind(client: pt.Client, async_client: pt.AsyncClient, flow: Flow[int]) -> None:
    assert_type(client.with_options(timeout=3), pt.Client)
    assert_type(async_client.with_options(max_retries=0), pt.AsyncClient)
    assert_type(client.run(flow), int)
    with client as same:
        assert_type(same, pt.Client)


def a_misspelt_keyword_is_an_error(client: pt.Client) -> None:
    client.fine_tuning.create(model="m", trainingfile="f")  # type: ignore[call-arg]
    client.fine_tuning.retrieve(jobb="ft-1")  # type: ignore[call-arg]
    client.fine_tuning.create(model="m", maxprice=3)  # type: ignore[call-arg]
    client.with_options(time_out=3)  # type: ignore[call-arg]
    pt.JobConfig(modell="m")  # type: ignore[call-arg]
    pt.Client(key="k")  # type: ignore[call-arg]


def a_value_of_the_wrong_type_is_an_error(client: pt.Client, text: TextIO) -> None:
    client.fine_tuning.create(model="m", n_epochs="three")  # type: ignore[arg-type]
    client.fine_tuning.retrieve(3)  # type: ignore[arg-type]
    client.fine_tuning.create(model="m", max_price="3")  # type: ignore[arg-type]
    client.files.upload(text)  # type: ignore[arg-type]
    client.files.upload("pairs.jsonl", form="whole")  # type: ignore[arg-type]
    client.fine_tuning.list_metrics("ft-1", from_step="2")  # type: ignore[arg-type]
    client.fine_tuning.preview("file-1", model="m", train_on_inputs="yes")  # type: ignore[arg-type]
    pt.JobConfig(model="m", training_method="ppo")  # type: ignore[arg-type]


def a_misspelt_name_is_an_error(client: pt.Client) -> None:
    preftune.Clinet()  # type: ignore[attr-defined]
    client.fine_tunning  # type: ignore[attr-defined]  # noqa: B018
    client.fine_tuning.retreive("ft-1")  # type: ignore[attr-defined]
