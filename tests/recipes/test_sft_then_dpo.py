import asyncio
import itertools
import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

import preftune as pt
from preftune.api.steps import Request, Sleep
from preftune.errors import ConfigError, DataError, JobFailedError

WORDS = ("red", "blue", "green", "plain", "round", "small", "large", "quick")


def write_pairs(path, count, start=0):
    """Write pairs whose chosen answers are of one kind and whose rejected answers are of another."""
    rows = [
        {
            "input": {"messages": [{"role": "user", "content": f"Which {WORDS[i % 8]} one, number {i}?"}]},
            "preferred_output": [{"role": "assistant", "content": f"Take the {WORDS[(i * 7) % 8]} one on shelf {i}."}],
            "non_preferred_output": [{"role": "assistant", "content": f"Well, {WORDS[(i * 5) % 8]} may depend, {i}."}],
        }
        for i in range(start, start + count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def data(tmp_path):
    return write_pairs(tmp_path / "pairs.jsonl", 24)


@pytest.fixture
def held_out(tmp_path):
    return write_pairs(tmp_path / "heldout.jsonl", 12, start=100)


def test_dpo_goes_on_from_the_supervised_checkpoint(preftune_client, data):
    done = pt.sft_then_dpo(preftune_client, data, model="some/model", sft={"suffix": "one"}, dpo={"dpo_beta": 0.3})
    assert done.report.pairs == 24
    assert (done.sft_job.status, done.dpo_job.status) == ("completed", "completed")
    assert done.dpo_job.from_checkpoint == done.sft_job.id
    assert done.dpo_job.training_method["dpo_beta"] == 0.3
    assert (done.sft_job.model, done.dpo_job.model) == ("some/model", "some/model")


def test_rows_of_both_jobs_are_handed_over_as_they_come(preftune_client, data, held_out):
    seen = []
    pt.sft_then_dpo(
        preftune_client, data, model="m", validation=held_out, sft={"n_evals": 1}, on_row=lambda *row: seen.append(row)
    )
    keys = [(stage, row.step, row.split) for stage, row in seen]
    assert keys == [
        ("sft", 1, "train"), ("sft", 2, "train"), ("sft", 2, "eval"),
        ("dpo", 1, "train"), ("dpo", 1, "eval"), ("dpo", 2, "train"), ("dpo", 2, "eval"),
    ]  # fmt: skip


def test_the_asynchronous_client_does_the_same(preftune_server, data):
    async def run():
        async with pt.AsyncClient(base_url=preftune_server.url, api_key=preftune_server.api_key) as client:
            return await pt.sft_then_dpo(client, data, model="m")

    assert asyncio.run(run()).dpo_job.status == "completed"


def test_configurations_may_be_whole_and_keep_all_but_model_and_files(preftune_client, data):
    done = pt.sft_then_dpo(
        preftune_client,
        data,
        model="m",
        sft=pt.JobConfig(model="other", n_epochs=2),
        dpo=pt.JobConfig(model="other", random_seed=5),
    )
    assert (done.sft_job.model, done.sft_job.n_epochs) == ("m", 2)
    assert (done.dpo_job.model, done.dpo_job.random_seed) == ("m", 5)
    assert done.dpo_job.training_method["method"] == "dpo"


@pytest.mark.parametrize(
    ("stages", "sentence"),
    [
        ({"sft": {"training_method": "dpo"}}, "sft: expected a supervised configuration, found training_method 'dpo'"),
        ({"dpo": {"training_method": "sft"}}, "dpo: expected a preference configuration, found training_method 'sft'"),
        ({"dpo": {"n_evals": 3}}, "dpo: n_evals is 3, but there is no validation data"),
        ({"sft": {"n_evals": 2}}, "sft: n_evals is 2, but there is no validation data"),
    ],
)
def test_a_configuration_in_the_wrong_place_is_refused_before_anything_is_sent(data, stages, sentence):
    client = pt.Client(api_key="k", base_url="http://127.0.0.1:1")
    with pytest.raises(ConfigError, match=sentence):
        pt.sft_then_dpo(client, data, model="m", **stages)


@pytest.mark.parametrize("which", ["training", "validation"])
def test_unfit_data_is_refused_before_anything_is_sent(data, tmp_path, which):
    bad = tmp_path / "bad.jsonl"
    bad.write_text(data.read_text() + "{}\n")
    client = pt.Client(api_key="k", base_url="http://127.0.0.1:1")
    files = {"data": bad} if which == "training" else {"data": data, "validation": bad}
    with pytest.raises(DataError, match=r"bad.jsonl:25: input is missing"):
        pt.sft_then_dpo(client, model="m", **files)


def test_what_the_recipe_fills_in_is_filled_in_whatever_the_form(preftune_client, data):
    filled = {"from_checkpoint": "ft-old", "validation_file": "file-old", "model": "other"}
    assert pt.sft_then_dpo(preftune_client, data, model="m", dpo=filled).dpo_job.status == "completed"


def test_fields_that_make_no_configuration_are_refused_with_their_stage(data):
    client = pt.Client(api_key="k", base_url="http://127.0.0.1:1")
    with pytest.raises(ConfigError, match=r"dpo: training_method.dpo_beta: must be greater than 0, found -1.0"):
        pt.sft_then_dpo(client, data, model="m", dpo={"dpo_beta": -1})


def test_every_file_is_taken_before_the_first_job_is_paid_for(preftune_server, data, held_out):
    asked = []
    mine = httpx.Client(event_hooks={"request": [lambda request: asked.append((request.method, request.url.path))]})
    with pt.Client(base_url=preftune_server.url, api_key=preftune_server.api_key, http_client=mine) as client:
        pt.sft_then_dpo(client, data, model="m", validation=held_out)
    posts = [path for method, path in asked if method == "POST"]
    assert posts.count("/v1/fine-tunes") == 2
    assert "/v1/files" not in posts[posts.index("/v1/fine-tunes") :]


# going on after an interruption


class Stop(BaseException):
    """What a test stops a call with."""


@pytest.fixture
def connect(preftune_server, tmp_path):
    """Return a function that makes a fresh client of the server, as another process would, with one state folder.

    The server is not shown the idempotency keys: the hosted one is not known to honour them.
    """

    def without_key(request):
        request.headers.pop("idempotency-key", None)

    def connect(*, on_request=without_key, on_response=None, **settings):
        hooks = {"request": [without_key, on_request], "response": [on_response] if on_response else []}
        place = {"base_url": preftune_server.url, "api_key": preftune_server.api_key}
        http = httpx.Client(event_hooks=hooks)
        return pt.Client(**{"state_dir": str(tmp_path / "state"), "http_client": http, **place, **settings})

    return connect


class Stopping:
    """A client whose flows end at one moment: a step is done and nobody is told; every other flow is just closed."""

    def __init__(self, client, moment):
        self.base_url, self.state_dir = client.base_url, client.state_dir
        self._client, self._moment = client, moment

    def run(self, flow):
        return self._client.run(self._until(flow))

    def _until(self, flow):
        moments, polled = itertools.count(), set()
        step = next(flow)
        try:
            while True:
                is_last = is_moment(step, polled) and next(moments) == self._moment
                try:
                    answer = yield step
                    if is_last:
                        break
                except pt.errors.APIError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
            if self._moment % 2:
                flow.throw(Stop())
        except StopIteration as end:
            return end.value
        finally:
            flow.close()
        raise Stop


def is_moment(step, polled):
    """Tell whether a step is a moment of its own: no pause, and no poll of what was asked before."""
    if isinstance(step, Sleep) or (isinstance(step, Request) and (step.method, step.path) in polled):
        return False
    if isinstance(step, Request) and step.method == "GET" and step.path != "/fine-tunes":
        polled.add((step.method, step.path))
    return True


def made(client, model, name):
    """Return what one call made: the jobs of its model as (id, method, parent), oldest first, and the files by name."""
    jobs = [job for job in reversed(client.fine_tuning.list()) if job.model == model]
    files = [file for file in client.files.list() if file.filename.startswith(f"{name}.") and file.is_ready]
    return (
        [(job.id, job.training_method["method"], job.from_checkpoint or "") for job in jobs],
        sorted(file.filename for file in files),
    )


def once(done, name):
    """Return what there is when a call has trained once."""
    jobs = [(done.sft_job.id, "sft", ""), (done.dpo_job.id, "dpo", done.sft_job.id)]
    return jobs, [f"{name}.jsonl", f"{name}.sft.jsonl"]


@pytest.mark.slow
def test_a_call_that_was_interrupted_at_any_moment_goes_on_there_and_trains_once(connect, tmp_path):
    tried = 50

    def stopped_at(moment):
        """Return whether a call was stopped, what there was when it had gone on, and what there should be."""
        model = name = f"moment-{moment}"
        data = write_pairs(tmp_path / f"{name}.jsonl", 4, start=1000 * moment)
        settings = {"state_dir": str(tmp_path / name)}
        with connect(**settings) as client:
            try:
                pt.sft_then_dpo(Stopping(client, moment), data, model=model)
            except Stop:
                stopped = True
            else:
                stopped = False
        with connect(**settings) as client:
            done = pt.sft_then_dpo(client, data, model=model)
            return stopped, made(client, model, name), once(done, name), done.dpo_job.status

    with ThreadPoolExecutor(12) as pool:
        results = list(pool.map(stopped_at, range(tried)))
    moments = sum(stopped for stopped, *_ in results)
    assert [stopped for stopped, *_ in results] == [True] * moments + [False] * (tried - moments)
    assert 0 < moments < tried  # all there are
    wrong = {moment: found for moment, (_, found, expected, _) in enumerate(results) if found != expected}
    assert wrong == {}
    assert {status for *_, status in results} == {"completed"}


@pytest.mark.parametrize("hook", ["on_request", "on_response"])
def test_a_call_that_is_interrupted_again_and_again_ends_in_one_job_of_each_kind(connect, data, hook):
    """The n-th call dies at its n-th request: before it is sent, or when the server has done what it says."""

    def dying(at):
        countdown = itertools.count()

        def die(_):
            if next(countdown) == at:
                raise KeyboardInterrupt

        return connect(**{hook: die})

    for at in range(100):
        try:
            with dying(at) as client:
                done = pt.sft_then_dpo(client, data, model=f"again-{hook}", on_row=lambda *_: None)
                break
        except KeyboardInterrupt:
            continue
    assert at > 5
    with connect() as client:
        jobs = made(client, f"again-{hook}", "pairs")[0]
        assert jobs == once(done, "pairs")[0]


def test_a_callback_that_raises_interrupts_and_the_next_call_shows_the_rows_from_the_first(connect, data):
    def stop_at(wanted):
        def on_row(stage, row):
            if (stage, row.step) == wanted:
                raise Stop

        return on_row

    with connect() as client:
        for wanted in [("sft", 2), ("dpo", 1)]:
            with pytest.raises(Stop):
                pt.sft_then_dpo(client, data, model="enough", on_row=stop_at(wanted))
    seen = []
    with connect() as client:
        done = pt.sft_then_dpo(client, data, model="enough", on_row=lambda stage, row: seen.append((stage, row.step)))
        assert made(client, "enough", "")[0] == once(done, "")[0]
    assert seen == [("sft", 1), ("sft", 2), ("dpo", 1), ("dpo", 2)]


def test_a_finished_call_returns_its_jobs_again_and_changes_nothing(connect, data, held_out):
    def call(client):
        return pt.sft_then_dpo(client, data, model="m", validation=held_out, sft={"n_evals": 1})

    with connect() as client:
        done = call(client)
    asked = []
    with connect(on_request=lambda request: asked.append(request.method)) as client:
        assert call(client) == done
    assert set(asked) == {"GET"}


def jobs_of(done):
    return done.sft_job.id, done.dpo_job.id


LONG = {"n_epochs": 20, "batch_size": 1}  # so that it can be cancelled before it ends


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_a_job_that_was_cancelled_is_trained_anew(connect, data, stage):
    rows = []
    with connect() as client:

        def cancel(at, row):
            if at == stage and not rows:
                rows.append(row)
                client.fine_tuning.cancel(client.fine_tuning.last())

        def call():
            return pt.sft_then_dpo(client, data, model=f"anew-{stage}", on_row=cancel, **{stage: LONG})

        with pytest.raises(JobFailedError, match="cancelled"):
            call()
        first = client.fine_tuning.last()
        done = call()
        assert call() == done
        jobs = made(client, f"anew-{stage}", "")[0]
    again = (done.sft_job.id, "sft", ""), (done.dpo_job.id, "dpo", done.sft_job.id)
    lost = (first.id, stage, first.from_checkpoint or "")
    assert jobs == ([lost, *again] if stage == "sft" else [again[0], lost, again[1]])


@pytest.mark.parametrize(("stage", "is_kept"), [("sft", [False, False]), ("dpo", [True, False])])
def test_a_job_that_was_deleted_is_trained_anew_and_what_followed_from_it(connect, data, stage, is_kept):
    with connect() as client:
        first = pt.sft_then_dpo(client, data, model="m")
        client.fine_tuning.delete(getattr(first, f"{stage}_job"))
        second = pt.sft_then_dpo(client, data, model="m")
        assert pt.sft_then_dpo(client, data, model="m") == second
    assert [one == other for one, other in zip(jobs_of(first), jobs_of(second), strict=True)] == is_kept
    assert second.dpo_job.from_checkpoint == second.sft_job.id


def test_a_file_that_was_deleted_is_uploaded_again_and_the_jobs_stay(connect, data):
    with connect() as client:
        first = pt.sft_then_dpo(client, data, model="m")
        client.files.delete(first.sft_job.training_file)
        left = client.files.list()
        assert pt.sft_then_dpo(client, data, model="m") == first
        (again,) = [file for file in client.files.list() if file not in left]
    assert (again.filename, again.is_ready) == ("pairs.sft.jsonl", True)


def test_a_file_that_is_deleted_while_a_job_is_asked_for_keeps_nobody_from_going_on(connect, data):
    def die(request):
        if (request.method, request.url.path) == ("POST", "/v1/fine-tunes"):
            raise Stop

    with connect(on_request=die) as client, pytest.raises(Stop):
        pt.sft_then_dpo(client, data, model="without-file")
    with connect() as client:
        for file in client.files.list():
            if file.filename in ("pairs.sft.jsonl", "pairs.jsonl"):
                client.files.delete(file)
        done = pt.sft_then_dpo(client, data, model="without-file")
        assert made(client, "without-file", "")[0] == once(done, "")[0]


def states(folder):
    return sorted(folder.rglob("*.json"))


@pytest.mark.slow
def test_other_arguments_have_a_state_of_their_own(connect, data, held_out, tmp_path):
    other = write_pairs(tmp_path / "other.jsonl", 5, start=50)
    renamed = write_pairs(tmp_path / "renamed.jsonl", 24)  # the content counts, not the name
    with connect() as client:
        calls = [
            pt.sft_then_dpo(client, data, model="m"),
            pt.sft_then_dpo(client, renamed, model="m"),
            pt.sft_then_dpo(client, other, model="m"),
            pt.sft_then_dpo(client, data, model="another"),
            pt.sft_then_dpo(client, data, model="m", dpo={"dpo_beta": 0.3}),
            pt.sft_then_dpo(client, data, model="m", validation=held_out),
        ]
    assert [jobs_of(calls[0]) == jobs_of(done) for done in calls] == [True, True, False, False, False, False]
    assert len(states(tmp_path / "state")) == 5
    address = connect(base_url="http://127.0.0.1:1", max_retries=0)
    with address, pytest.raises(pt.errors.APIConnectionError):
        pt.sft_then_dpo(address, data, model="m")  # another server is asked, from the beginning
    with connect() as client:
        client.files.retrieve(calls[0].sft_job.training_file)


def test_a_file_named_by_the_caller_keeps_the_state(connect, data, tmp_path):
    with connect() as client:
        first = pt.sft_then_dpo(client, data, model="m", state=tmp_path / "mine" / "one.json")
        assert states(tmp_path) == [tmp_path / "mine" / "one.json"]
        assert pt.sft_then_dpo(client, data, model="m", state=str(tmp_path / "mine" / "one.json")) == first
        second = pt.sft_then_dpo(client, data, model="m", state=tmp_path / "mine" / "two.json")
        assert not set(jobs_of(first)) & set(jobs_of(second))
        with pytest.raises(ConfigError, match=r"one\.json: expected the state of this data and configuration, found"):
            pt.sft_then_dpo(client, data, model="other", state=tmp_path / "mine" / "one.json")


def test_without_a_place_nothing_is_kept_and_each_call_trains(connect, data, tmp_path):
    with connect() as client:
        first = pt.sft_then_dpo(client, data, model="m", state="")
    with connect(state_dir="") as client:
        second = pt.sft_then_dpo(client, data, model="m")
        assert client.state_dir is None
    assert not set(jobs_of(first)) & set(jobs_of(second))
    assert states(tmp_path) == []


def test_a_state_folder_that_cannot_be_made_keeps_nobody_from_training(connect, data, tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    with connect(state_dir=tmp_path / "file") as client:
        assert pt.sft_then_dpo(client, data, model="m").dpo_job.status == "completed"
    told = [record.message for record in caplog.records if "where the call stands is not kept" in record.message]
    assert len(told) == 1
    assert "name a file with state=, or PREFTUNE_STATE_DIR" in told[0]


def test_neither_the_state_nor_the_ledger_holds_a_key(connect, data, tmp_path):
    secrets = {"wandb_key": "canary-of-wandb", "hf_api_token": "canary-of-hf"}
    with connect() as client:
        first = pt.sft_then_dpo(client, data, model="m", sft=secrets, dpo=secrets)
        other = {"wandb_key": "another-canary", "hf_api_token": "another-canary"}
        assert pt.sft_then_dpo(client, data, model="m", sft=other, dpo=other) == first  # a new key is no new training
    written = [path.read_text() for path in sorted(tmp_path.rglob("*")) if path.is_file() and path != data]
    assert len(written) >= 2
    assert [text for text in written if "canary" in text] == []


def test_a_second_call_while_the_first_is_at_it_is_refused(connect, data):
    def call_again(*_):
        with connect() as other, pytest.raises(ConfigError, match="to be alone, found another call at it; wait"):
            pt.sft_then_dpo(other, data, model="m")
        refused.append(True)

    refused = []
    with connect() as client:
        pt.sft_then_dpo(client, data, model="m", on_row=call_again)
        pt.sft_then_dpo(client, data, model="m")
    assert refused == [True] * 4


def test_a_refused_state_can_be_removed_and_the_call_made_again(connect, data, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text("my notes")
    with connect() as client:
        with pytest.raises(ConfigError, match="found other text; move it") as kept:
            pt.sft_then_dpo(client, data, model="m", state=path)
        path.unlink()
        assert pt.sft_then_dpo(client, data, model="m", state=path).dpo_job.status == "completed"
    assert kept.value.__traceback__ is not None  # as a notebook keeps it


@pytest.fixture
def connect_async(preftune_server, tmp_path):
    """Return a function that makes a fresh asynchronous client, with the state folder of the others."""
    settings = {"base_url": preftune_server.url, "api_key": preftune_server.api_key}
    return lambda: pt.AsyncClient(state_dir=str(tmp_path / "state"), **settings)


def test_the_asynchronous_client_goes_on_after_a_cancellation_and_the_synchronous_one_after_it(
    connect, connect_async, data
):
    async def cancelled_at_its_first_row():
        def cancel(*_):
            task.cancel()

        async with connect_async() as client:
            task = asyncio.ensure_future(pt.sft_then_dpo(client, data, model="async", on_row=cancel))
            with pytest.raises(asyncio.CancelledError):
                await task
            return await pt.sft_then_dpo(client, data, model="async")

    done = asyncio.run(cancelled_at_its_first_row())
    with connect() as client:
        assert pt.sft_then_dpo(client, data, model="async") == done
        assert made(client, "async", "")[0] == once(done, "")[0]


def test_the_asynchronous_client_leaves_the_state_to_the_next_call(connect_async, data, tmp_path):
    (tmp_path / "mine.json").write_text("my notes")

    async def twice():
        async with connect_async() as client:
            with pytest.raises(ConfigError, match="found other text"):
                await pt.sft_then_dpo(client, data, model="m", state=tmp_path / "mine.json")
            (tmp_path / "mine.json").unlink()
            return [await pt.sft_then_dpo(client, data, model="m", state=tmp_path / "mine.json") for _ in range(2)]

    first, second = asyncio.run(twice())
    assert first == second


# a process that dies in the middle


CHILD = """
import os, pathlib, signal, sys
import preftune as pt
from preftune.client.ledger import Ledger

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

Ledger.claim = die  # the job is there, its answer has come, and nothing is noted yet
client = pt.Client()
{call}
"""


@pytest.fixture
def child(preftune_server, tmp_path, monkeypatch):
    """Return a function that runs a call in a process that dies when its first job has been made."""
    monkeypatch.setenv("PREFTUNE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("PREFTUNE_BASE_URL", preftune_server.url)
    monkeypatch.setenv("PREFTUNE_API_KEY", preftune_server.api_key)

    def child(call):
        done = subprocess.run([sys.executable, "-c", CHILD.format(call=call)], capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (-signal.SIGKILL, b"")

    return child


@pytest.mark.slow
def test_a_job_whose_program_was_killed_before_the_answer_was_noted_is_found_again(child, connect, data):
    with connect() as client:
        file = client.files.wait(client.files.upload(data))
        other = client.fine_tuning.create(model="killed", training_file=file.id, training_method="dpo")
        child(f'client.fine_tuning.create(model="killed", training_file={file.id!r}, n_epochs=2, idempotency_key="k")')
    with connect() as client:
        newest, earlier = [job for job in client.fine_tuning.list() if job.model == "killed"]
        assert earlier.id == other.id
        assert client.fine_tuning.last().id == newest.id
        assert newest.n_epochs == 2
    shown = subprocess.run([sys.executable, "-m", "preftune", "jobs", "--mine"], capture_output=True, check=True)
    assert [line.split()[0].decode() for line in shown.stdout.splitlines()[1:]] == [newest.id, other.id]
    with connect() as client:
        again = client.fine_tuning.create(model="killed", training_file=file.id, n_epochs=2, idempotency_key="k")
        assert again.id == newest.id
        assert len([job for job in client.fine_tuning.list() if job.model == "killed"]) == 2


@pytest.mark.slow
def test_the_command_line_alone_finds_the_job_of_a_program_that_was_killed(child, connect, data):
    with connect() as client:
        file = client.files.wait(client.files.upload(data))
    child(f'client.fine_tuning.create(model="killed-alone", training_file={file.id!r})')
    shown = subprocess.run([sys.executable, "-m", "preftune", "jobs", "--mine"], capture_output=True, check=True)
    (line,) = shown.stdout.splitlines()[1:]
    with connect() as client:
        (job,) = [job for job in client.fine_tuning.list() if job.model == "killed-alone"]
    assert line.split()[0].decode() == job.id


@pytest.mark.slow
def test_a_recipe_whose_program_was_killed_goes_on_in_another(child, connect, data):
    child(f'pt.sft_then_dpo(client, {str(data)!r}, model="killed-recipe")')
    with connect() as client:
        done = pt.sft_then_dpo(client, data, model="killed-recipe")
        assert made(client, "killed-recipe", "")[0] == once(done, "")[0]
