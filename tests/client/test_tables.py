import inspect
import pydoc
from unittest.mock import create_autospec

import pytest

import preftune as pt
from preftune.api import creation, files, fine_tuning, history, pricing, watching
from preftune.client import downloading, uploading
from preftune.client.tables import Endpoint, Files, FineTuning, Stream
from preftune.errors import ConfigError

FLOWS = {
    "files.upload": uploading.upload,
    "files.list": files.list,
    "files.retrieve": files.retrieve,
    "files.content": files.content,
    "files.download": downloading.download_file,
    "files.delete": files.delete,
    "files.wait": files.wait,
    "fine_tuning.create": creation.create,
    "fine_tuning.list": history.list,
    "fine_tuning.last": history.last,
    "fine_tuning.retrieve": fine_tuning.retrieve,
    "fine_tuning.cancel": fine_tuning.cancel,
    "fine_tuning.delete": fine_tuning.delete,
    "fine_tuning.list_events": fine_tuning.list_events,
    "fine_tuning.list_checkpoints": fine_tuning.list_checkpoints,
    "fine_tuning.list_metrics": fine_tuning.list_metrics,
    "fine_tuning.stream_metrics": watching.stream_metrics,
    "fine_tuning.stream_events": watching.stream_events,
    "fine_tuning.follow": watching.follow,
    "fine_tuning.wait": watching.wait,
    "fine_tuning.download": downloading.download,
    "fine_tuning.estimate_price": pricing.estimate_price,
    "fine_tuning.model_limits": fine_tuning.model_limits,
    "fine_tuning.supported_models": fine_tuning.supported_models,
    "fine_tuning.preview": fine_tuning.preview,
}
STREAMS = {"fine_tuning.stream_metrics", "fine_tuning.stream_events", "fine_tuning.follow"}
RESOURCES = {"files": Files, "fine_tuning": FineTuning}


def method(client, name):
    resource, _, endpoint = name.partition(".")
    return getattr(getattr(client, resource), endpoint)


@pytest.fixture(params=[pt.Client, pt.AsyncClient])
def client(request):
    return request.param(api_key="k", base_url="http://api.test")


def test_the_tables_hold_these_endpoints_and_no_others():
    found = {
        f"{resource}.{name}"
        for resource, table in RESOURCES.items()
        for name, value in vars(table).items()
        if isinstance(value, Endpoint | Stream)
    }
    assert found == set(FLOWS)


def test_both_clients_have_the_same_public_names():
    names = [{name for name in dir(kind) if not name.startswith("_")} for kind in (pt.Client, pt.AsyncClient)]
    assert names[0] == names[1]


@pytest.mark.parametrize("name", FLOWS)
def test_a_method_has_the_name_the_text_and_the_parameters_of_its_flow(client, name):
    found, flow = method(client, name), FLOWS[name]
    signature = inspect.signature(found)
    assert (found.__name__, found.__qualname__, found.__doc__) == (name.split(".")[1], name.split(".")[1], flow.__doc__)
    assert list(signature.parameters.values()) == list(inspect.signature(flow).parameters.values())
    assert not hasattr(found, "__wrapped__")


@pytest.mark.parametrize("name", FLOWS)
def test_both_clients_show_one_signature(name):
    clients = [kind(api_key="k") for kind in (pt.Client, pt.AsyncClient)]
    first, second = (inspect.signature(method(client, name)) for client in clients)
    assert first == second
    assert first == inspect.signature(getattr(RESOURCES[name.partition(".")[0]], name.partition(".")[2]))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("files.list", "() -> 'list[File]'"),
        ("files.content", "(file: 'FileOrId') -> 'bytes'"),
        (
            "fine_tuning.preview",
            (
                "(file: 'FileOrId', *, model: 'str', rows: 'int' = 5, "
                "train_on_inputs: \"bool | Literal['auto']\" = 'auto') -> 'Preview'"
            ),
        ),
        ("fine_tuning.retrieve", "(job: 'JobOrId') -> 'FineTuneJob'"),
        (
            "fine_tuning.stream_metrics",
            (
                "(job: 'JobOrId', *, from_step: 'int | None' = None, after: 'MetricRow | None' = None, "
                "poll_interval: 'float | None' = None, cancel_if: 'CancelIf | None' = None, "
                "raise_on_failure: 'bool' = False) -> 'Iterator[MetricRow]'"
            ),
        ),
        (
            "fine_tuning.create",
            (
                "(config: 'JobConfig | JobFields | None' = None, /, *, max_price: 'float | None' = None, "
                "idempotency_key: 'str | None' = None, **fields: 'Unpack[JobFields]') -> 'FineTuneJob'"
            ),
        ),
        (
            "fine_tuning.follow",
            (
                "(job: 'JobOrId', *, from_step: 'int | None' = None, poll_interval: 'float | None' = None, "
                "cancel_if: 'CancelIf | None' = None, raise_on_failure: 'bool' = False) "
                "-> 'Iterator[MetricRow | Event]'"
            ),
        ),
    ],
)
def test_a_signature_says_what_a_call_gives(client, name, shown):
    assert str(inspect.signature(method(client, name))) == shown


@pytest.mark.parametrize("name", FLOWS)
def test_an_async_method_is_a_real_coroutine_function_and_a_sync_one_is_none(name):
    assert inspect.iscoroutinefunction(method(pt.AsyncClient(api_key="k"), name)) is (name not in STREAMS)
    assert not inspect.iscoroutinefunction(method(pt.Client(api_key="k"), name))


@pytest.mark.parametrize("name", sorted(STREAMS))
def test_a_stream_is_a_generator_of_its_clients_kind(name):
    assert inspect.isgenerator(method(pt.Client(api_key="k"), name)("ft-1"))
    assert inspect.isasyncgen(method(pt.AsyncClient(api_key="k"), name)("ft-1"))


def test_help_shows_every_method_with_its_parameters():
    text = pydoc.render_doc(FineTuning, renderer=pydoc.plaintext)
    assert "retrieve(job: 'JobOrId') -> 'FineTuneJob'" in text
    assert "Return one job. Raises NotFoundError." in text


def test_help_of_create_shows_what_keeps_a_job_from_costing_too_much_or_twice():
    text = pydoc.render_doc(FineTuning.create, renderer=pydoc.plaintext)
    assert "max_price: 'float | None' = None, idempotency_key: 'str | None' = None" in text
    assert "Above `max_price`, in dollars, nothing is created" in text


WITHOUT_ARGUMENTS = ("create", "estimate_price", "last", "list", "supported_models")


@pytest.mark.parametrize("name", FLOWS)
def test_on_its_class_a_method_is_a_function_that_gives_the_flow(name):
    resource, _, endpoint = name.partition(".")
    shown = getattr(RESOURCES[resource], endpoint)
    assert inspect.isfunction(shown)
    create_autospec(shown)
    arguments = [] if endpoint in WITHOUT_ARGUMENTS else ["x"]
    options = {"download": {"to": "x"}, "preview": {"model": "m"}}.get(endpoint, {})
    assert inspect.isgenerator(shown(*arguments, **options))


def test_a_stand_in_refuses_what_the_method_refuses():
    stand_in = create_autospec(FineTuning.list_metrics)
    stand_in("ft-1", from_step=1)
    with pytest.raises(TypeError):
        stand_in("ft-1", form_step=1)


@pytest.mark.parametrize(("path", "params"), [("/x?a=1", {"b": 2}), ("https://elsewhere.test/x", None)])
def test_a_request_is_for_the_api_and_says_its_query_once(path, params):
    with pytest.raises(ConfigError) as error:
        pt.Client(api_key="k").request("GET", path, params=params)
    assert str(error.value) == (
        f"path: expected one of the API, as '/fine-tunes', found {path!r}; give its query as params="
    )
