import subprocess
import sys

import numpy as np  # noqa: F401 - it bears no second import, and runs in this process forget what they imported
import pytest
import respx  # noqa: F401 - as what follows, it is imported once and not by each run

import preftune.client.drivers
import preftune.local.app
import preftune.local.validate
import preftune.recipes.recorded
import preftune.recipes.sample  # noqa: F401

pytest_plugins = ["pytester"]

SCRIPT = """
    def test_a_script_submits_a_job(preftune_server, preftune_client, tmp_path):
        assert preftune_client.base_url == preftune_server.url
        assert preftune_client.fine_tuning.list() == []
"""

CREATING = """
    import json
    import preftune

    def row(number):
        says = lambda role, text: [{"role": role, "content": text}]
        return {
            "input": {"messages": says("user", f"How is {number}?")},
            "preferred_output": says("assistant", f"Number {number} is fine."),
            "non_preferred_output": says("assistant", f"Bah, {number}!"),
        }

    def test_a_script_creates_a_job(preftune_client, tmp_path):
        data = tmp_path / "pairs.jsonl"
        data.write_text("".join(json.dumps(row(number)) + chr(10) for number in range(4)))
        file = preftune_client.files.wait(preftune_client.files.upload(data))
        job = preftune_client.fine_tuning.create(model="m", training_file=file.id, training_method="dpo")
        assert preftune_client.fine_tuning.last().id == job.id
        assert preftune.sft_then_dpo(preftune_client, data, model="m").dpo_job.status == "completed"
        assert preftune_client.state_dir is None
"""

PAIRS = """
    import json

    def content(count=4):
        says = lambda role, text: [{"role": role, "content": text}]
        rows = [
            {
                "input": {"messages": says("user", f"How is {number}?")},
                "preferred_output": says("assistant", f"Number {number} is fine."),
                "non_preferred_output": says("assistant", f"Bah, {number}!"),
            }
            for number in range(count)
        ]
        return "".join(json.dumps(row) + chr(10) for row in rows).encode()
"""


QUICK = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")  # the second imports all of Hypothesis at each end


@pytest.fixture
def run(pytester, tmp_path, monkeypatch):
    """Return a function that runs a test file of a user, in this process or alone; no state may be written."""
    monkeypatch.setenv("PREFTUNE_STATE_DIR", str(tmp_path / "state-of-the-user"))

    def run(*files, options=(), alone=False, **outcomes):
        for number, file in enumerate(files):
            pytester.makepyfile(**{f"test_{number}": file})
        start = pytester.runpytest_subprocess if alone else pytester.runpytest_inprocess
        result = start(*QUICK, "--strict-markers", "-W", "error", *options)
        result.assert_outcomes(**(outcomes or {"passed": 1}))
        assert not (tmp_path / "state-of-the-user").exists()
        return result

    pytester.makepyfile(pairs=PAIRS)
    pytester.syspathinsert()
    return run


def test_the_fixtures_serve_a_users_test(pytester):
    pytester.makepyfile(SCRIPT)
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


@pytest.mark.slow
def test_the_client_keeps_no_ledger_and_no_state(pytester, tmp_path, monkeypatch):
    state = tmp_path / "state"
    monkeypatch.setenv("PREFTUNE_STATE_DIR", str(state))
    for name in ("XDG_STATE_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    pytester.makepyfile(CREATING)
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
    assert not state.exists()
    assert not (tmp_path / "home").exists()


def test_the_plugin_costs_nothing_to_a_run_that_does_not_use_it(pytester):
    pytester.makepyfile(
        """
        import sys
        def test_nothing_heavy_is_imported():
            ours = {name for name in sys.modules if name.startswith("preftune")}
            assert ours == {"preftune", "preftune.lazy", "preftune.pytest_plugin"}
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_the_plugin_imports_nothing_but_pytest():
    steps = ("import sys, pytest", "before = set(sys.modules)", "import preftune.pytest_plugin")
    script = "; ".join((*steps, "print(*set(sys.modules) - before)"))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    heavy = {name.partition(".")[0] for name in done.stdout.split()} - set(sys.stdlib_module_names)
    assert heavy == {"preftune"}
    assert sorted(name for name in done.stdout.split() if name.startswith("preftune")) == [
        "preftune", "preftune.lazy", "preftune.pytest_plugin",
    ]  # fmt: skip


def test_the_marker_and_the_fixtures_are_told_by_pytest(pytester):
    markers = pytester.runpytest_inprocess("-p", "no:cacheprovider", "--markers")
    markers.stdout.fnmatch_lines(["@pytest.mark.preftune([*]faults): run the test in the environment of *"])
    fixtures = pytester.runpytest_inprocess("-p", "no:cacheprovider", "--fixtures").stdout.str()
    names = (
        "async_client", "client", "environment", "faults", "job", "respx", "server",
    )  # fmt: skip
    assert [name for name in names if f"\npreftune_{name}" not in fixtures] == []
    assert "_preftune_marked" not in fixtures


# the server and its clients


def test_all_tests_of_a_run_share_one_server_whose_folder_is_gone_at_the_end(run, tmp_path):
    test = f"""
        from pathlib import Path
        def test_it(preftune_server):
            assert preftune_server.data_dir.is_dir()
            with Path({str(tmp_path / "seen")!r}).open("a") as seen:
                print(preftune_server.url, preftune_server.data_dir, file=seen)
    """
    run(test, test, passed=2)
    first, second = (tmp_path / "seen").read_text().splitlines()
    assert first == second
    assert not (tmp_path / first.split()[1]).exists()


def test_the_environment_of_a_test_is_the_local_server_and_its_own_state(run):
    run(
        """
        import os
        import preftune

        def test_it(preftune_environment, preftune_server, tmp_path):
            assert preftune_environment is preftune_server
            url, key = preftune_server.url, preftune_server.api_key
            assert (os.environ["PREFTUNE_BASE_URL"], os.environ["PREFTUNE_API_KEY"]) == (url, key)
            assert os.environ["TOGETHER_API_KEY"] == key
            assert os.environ["PREFTUNE_STATE_DIR"] == str(tmp_path / "preftune-state")
            with preftune.Client() as client:
                assert (client.base_url, client.fine_tuning.list()) == (url, [])

        def test_that_the_next_is_untouched(preftune_server):
            assert preftune_server.url not in os.environ.values()
            assert preftune_server.api_key not in os.environ.values()
        """,
        passed=2,
    )


@pytest.mark.parametrize(
    ("version", "suffix"),
    [(None, ""), ("1.5.34", "/v1"), ("2.42.0", "/v1"), ("3.0.0", ""), ("3.0.0a1", ""), ("10.1.0", "")],
)
def test_the_official_client_is_pointed_at_where_its_version_looks(run, monkeypatch, version, suffix):
    from importlib import metadata

    known = metadata.version

    def told(name):
        if name != "together":
            return known(name)
        if version is None:
            raise metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(metadata, "version", told)
    run(f"""
        import os
        def test_it(preftune_environment):
            assert os.environ["TOGETHER_BASE_URL"] == preftune_environment.url + {suffix!r}
    """)


def test_the_async_client_is_used_in_the_loop_of_the_test(run):
    run("""
        import asyncio
        import pairs

        def test_it(preftune_async_client, preftune_server):
            async def uploaded():
                async with preftune_async_client as client:
                    file = await client.files.upload(pairs.content(), name="pairs.jsonl")
                    return await client.files.wait(file, poll_interval=0.01), await client.files.list()

            file, listed = asyncio.run(uploaded())
            assert listed == [file]
            assert preftune_async_client.base_url == preftune_server.url
            assert preftune_async_client.state_dir is None
    """)


def test_a_client_that_a_test_asks_for_and_does_not_use_is_no_warning(run):
    run("def test_it(preftune_client, preftune_async_client): pass")


@pytest.mark.slow
def test_the_job_is_finished_and_the_same_in_every_run(run, tmp_path):
    test = f"""
        import json
        from pathlib import Path

        def test_it(preftune_job, preftune_client):
            assert (preftune_job.status, preftune_job.random_seed) == ("completed", 7)
            assert preftune_client.fine_tuning.retrieve(preftune_job).status == "completed"
            rows = preftune_client.fine_tuning.list_metrics(preftune_job)
            kept = [[row.step, row.split, row.loss, row.margin] for row in rows]
            with Path({str(tmp_path / "rows")!r}).open("a") as file:
                print(json.dumps(kept), file=file)

        def test_that_it_is_shared(preftune_job, preftune_client):
            assert [job.id for job in preftune_client.fine_tuning.list()] == [preftune_job.id]
    """
    run(test, passed=2)
    run(passed=2)
    first, second = (tmp_path / "rows").read_text().splitlines()
    assert first == second
    assert first.count("train") == 4


# faults


def test_faults_last_as_long_as_their_test(run):
    run(
        """
        import pytest
        from preftune.errors import InternalServerError

        def test_a_fault(preftune_faults, preftune_client):
            assert list(preftune_faults) == []
            preftune_faults.add("GET /files 500 retry-after=0")
            with pytest.raises(InternalServerError):
                preftune_client.files.list()

        def test_that_it_is_over(preftune_client):
            assert preftune_client.files.list() == []

        def test_that_it_is_over_here_too(preftune_faults, preftune_client):
            assert (list(preftune_faults), preftune_client.files.list()) == ([], [])
        """,
        passed=3,
    )


def test_the_marker_gives_a_test_the_environment_and_its_faults(run):
    run(
        """
        import os
        import pytest
        import preftune

        @pytest.mark.preftune
        def test_the_environment():
            with preftune.Client() as client:
                assert client.fine_tuning.list() == []

        @pytest.mark.preftune("GET /files 503 retry-after=0 once", "GET /fine-tunes drop once")
        def test_the_faults(preftune_server, preftune_faults):
            with preftune.Client() as client:
                assert (client.files.list(), client.fine_tuning.list()) == ([], [])
            assert [(rule.path, rule.acted) for rule in preftune_faults] == [("/files", 1), ("/fine-tunes", 1)]

        @pytest.mark.preftune("job-error once")
        class TestOfAClass:
            def test_it(self, preftune_faults):
                assert [rule.text for rule in preftune_faults] == ["job-error once"]

        def test_unmarked():
            assert "PREFTUNE_BASE_URL" not in os.environ
        """,
        passed=4,
    )


def test_an_unmarked_test_has_no_server_no_environment_and_no_other_fixture(run):
    run(
        """
        import os
        import threading

        def test_it(request):
            assert [name for name in request.fixturenames if "preftune" in name] == []
            assert not {name for name in os.environ if name in ("PREFTUNE_BASE_URL", "TOGETHER_BASE_URL")}
            assert not [thread.name for thread in threading.enumerate() if "preftune" in thread.name]
        """,
        alone=True,
    )


def test_of_the_parameters_of_a_test_each_has_the_marks_that_it_carries(run):
    run(
        """
        import os
        import pytest

        marked = pytest.mark.preftune("GET /files 500")

        @pytest.mark.parametrize("rules", [pytest.param(1, marks=marked), 0, pytest.param(1, marks=marked)])
        def test_it(request, rules):
            assert ("PREFTUNE_BASE_URL" in os.environ) == bool(rules)
            faults = request.getfixturevalue("preftune_faults") if rules else []
            assert len(list(faults)) == rules
        """,
        passed=3,
    )


def test_the_marker_works_on_a_method_of_unittest(run):
    run("""
        import os
        import unittest
        import pytest

        class TestIt(unittest.TestCase):
            @pytest.mark.preftune("GET /files 500")
            def test_it(self):
                assert os.environ["PREFTUNE_BASE_URL"].startswith("http://127.0.0.1:")
    """)


def test_a_doctest_in_a_marked_module_is_left_alone(run, pytester):
    pytester.makepyfile(
        mod="""
        import pytest
        pytestmark = pytest.mark.preftune

        def double(number):
            '''
            >>> double(2)
            4
            '''
            return 2 * number
    """
    )
    run(options=["--doctest-modules", "mod.py"])


def test_a_rule_that_cannot_be_read_is_an_error_that_names_the_word(run):
    result = run(
        """
        import pytest

        @pytest.mark.preftune("POST /files twice")
        def test_it():
            pass
        """,
        errors=1,
    )
    result.stdout.fnmatch_lines(["*fault 'POST /files twice': expected a status from 400 to 599, *found 'twice'*"])


def test_a_script_under_test_talks_to_the_local_server(run, pytester):
    pytester.makepyfile(
        script="""
        import preftune
        import pairs

        with preftune.Client() as client:
            file = client.files.wait(client.files.upload(pairs.content(), name="pairs.jsonl"))
            job = client.fine_tuning.create(model="m", training_file=file.id, training_method="dpo")
            print(job.id)
        """
    )
    run("""
        import subprocess
        import sys
        import pytest

        @pytest.mark.preftune("POST /fine-tunes lose once")
        def test_it(preftune_client):
            done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True)
            assert (done.returncode, done.stderr) == (0, "")
            assert [job.id for job in preftune_client.fine_tuning.list()] == [done.stdout.strip()]
    """)


@pytest.mark.slow
def test_each_process_of_a_parallel_run_has_a_server_of_its_own(pytester, tmp_path):
    pytester.makepyfile(f"""
        from pathlib import Path

        def test_it(preftune_server, preftune_client, worker_id):
            assert preftune_client.files.list() == []
            (Path({str(tmp_path)!r}) / worker_id).write_text(preftune_server.url)
    """)
    options = ("-p", "no:cacheprovider", "-p", "xdist", "-n", "2", "--dist", "each", "-W", "error")
    pytester.runpytest_subprocess(*options).assert_outcomes(passed=2)
    first, second = ((tmp_path / name).read_text() for name in ("gw0", "gw1"))
    assert first != second


# without sockets


NO_SOCKETS = """
    import socket
    import pytest

    @pytest.fixture(autouse=True)
    def no_sockets(monkeypatch):
        def refuse(*args, **kwargs):
            raise AssertionError("a socket was opened")
        monkeypatch.setattr(socket.socket, "connect", refuse)
        monkeypatch.setattr(socket.socket, "bind", refuse)
        monkeypatch.setattr(socket, "create_connection", refuse)
        monkeypatch.setattr(socket, "getaddrinfo", refuse)
"""


def test_a_script_goes_through_a_whole_run_without_a_socket(run, pytester):
    pytester.makeconftest(NO_SOCKETS)
    run(
        """
        import asyncio
        import preftune
        import pairs
        from preftune.recipes.recorded import BASE_URL

        def test_it(preftune_respx, tmp_path):
            with preftune.Client() as client:
                assert client.base_url == BASE_URL
                file = client.files.wait(client.files.upload(pairs.content(), name="pairs.jsonl"))
                job = client.fine_tuning.create(model="m", training_file=file.id, training_method="dpo")
                rows = list(client.fine_tuning.stream_metrics(job))
                assert [row.step for row in rows if row.split == "train"] == [1, 2, 3, 4]
                assert [row.step for row in rows if row.split == "eval"] == [2, 4]
                assert client.fine_tuning.wait(job).status == "completed"
                assert [event.kind for event in client.fine_tuning.stream_events(job)][-1] == "job_complete"
                assert len(client.fine_tuning.list_checkpoints(job)) == 3
                folder = client.fine_tuning.download(job, to=tmp_path / "adapter")
                assert sorted(path.name for path in folder.iterdir()) == [
                    "adapter_config.json", "adapter_model.safetensors"
                ]
                whole = client.fine_tuning.download(job, to=tmp_path / "whole", checkpoint="merged", extract=False)
                assert whole.stat().st_size > 0
                assert [job.id for job in client.fine_tuning.list()] == [job.id]
                assert file.id in [each.id for each in client.files.list()]
                assert client.fine_tuning.estimate_price(training_file=file.id, model="m").estimation_available
                assert client.fine_tuning.model_limits("m").lora_training.max_rank == 64
                assert client.fine_tuning.supported_models()
                client.fine_tuning.delete(job)
                client.files.delete(file)

        def test_async(preftune_respx):
            async def statuses():
                async with preftune.AsyncClient() as client:
                    file = await client.files.upload(pairs.content(), name="pairs.jsonl")
                    job = await client.fine_tuning.create(model="m", training_file=file.id, training_method="dpo")
                    return (await client.files.wait(file)).is_ready, (await client.fine_tuning.wait(job)).status

            assert asyncio.run(statuses()) == (True, "completed")

        def test_the_environment(preftune_respx):
            import os
            assert os.environ["PREFTUNE_BASE_URL"] == BASE_URL
            assert os.environ["TOGETHER_BASE_URL"].startswith(BASE_URL)
        """,
        passed=3,
    )


def test_every_answer_without_a_socket_is_about_the_one_job_and_the_one_file(run, pytester):
    pytester.makeconftest(NO_SOCKETS)
    run("""
        import preftune
        import pairs

        def test_it(preftune_respx):
            with preftune.Client() as client:
                file = client.files.upload(pairs.content(), name="pairs.jsonl")
                job = client.fine_tuning.create(model="m", training_file=file.id, training_method="dpo")
                files = [client.files.retrieve(file), client.files.upload(b"{}", name="a.jsonl", form="direct")]
                assert {each.id for each in files} == {file.id}
                assert [each.id for each in client.files.list()] == [file.id]
                assert client.fine_tuning.retrieve(job).training_file == file.id
                jobs = [client.fine_tuning.retrieve(job), client.fine_tuning.cancel(job), *client.fine_tuning.list()]
                assert {each.id for each in jobs} == {job.id}
    """)


def test_an_answer_of_the_recording_can_be_changed_by_the_name_of_its_operation(run, pytester):
    pytester.makeconftest(NO_SOCKETS)
    run(
        """
        import httpx
        import preftune
        import pytest
        from preftune.errors import AuthenticationError, InternalServerError

        def test_it(preftune_respx):
            preftune_respx["create_job"].respond(500, json={"error": {"message": "down"}})
            preftune_respx["get_job"].respond(json={"id": "ft-1", "status": "error"})
            with preftune.Client(max_retries=0) as client:
                with pytest.raises(InternalServerError, match="down"):
                    client.fine_tuning.create(model="m", training_file="file-1", training_method="dpo")
                assert client.fine_tuning.retrieve("ft-1").status == "error"
            assert preftune_respx["create_job"].call_count == 1
            assert not preftune_respx["list_files"].called

        def test_that_the_next_has_the_recorded_answer(preftune_respx):
            with preftune.Client() as client:
                assert client.fine_tuning.retrieve("ft-1").status == "completed"

        def test_an_unknown_path_is_no_answer(preftune_respx):
            with preftune.Client(max_retries=0) as client, pytest.raises(Exception, match="not mocked"):
                client.request("GET", "/nowhere")
        """,
        passed=3,
    )


def test_the_mock_needs_no_server(run):
    run(
        """
        import threading

        def test_it(preftune_respx):
            assert not [thread.name for thread in threading.enumerate() if "preftune" in thread.name]
        """,
        alone=True,
    )


def test_without_respx_a_test_that_asks_for_it_is_skipped_and_says_what_to_install(run, pytester):
    pytester.makeconftest("""
        import sys
        import pytest

        @pytest.fixture(autouse=True)
        def no_respx(monkeypatch):
            monkeypatch.setitem(sys.modules, "respx", None)
    """)
    result = run("def test_it(preftune_respx): pass", options=["-rs"], skipped=1)
    result.stdout.fnmatch_lines(["*preftune_respx needs respx: pip install respx*"])


def test_the_markers_environment_stands_over_what_a_projects_fixtures_set(run):
    run(
        """
        import os
        import pytest

        @pytest.fixture(autouse=True)
        def no_service(monkeypatch):
            for name in ("PREFTUNE_API_KEY", "PREFTUNE_BASE_URL", "TOGETHER_API_KEY"):
                monkeypatch.setenv(name, "")
            monkeypatch.setenv("NO_PROXY", "example.org")

        @pytest.mark.preftune
        def test_the_environment_is_that_of_the_server(preftune_server):
            assert os.environ["PREFTUNE_BASE_URL"] == preftune_server.url
            assert os.environ["TOGETHER_API_KEY"] == preftune_server.api_key
            assert os.environ["NO_PROXY"] == "example.org,127.0.0.1"
        """
    )


def test_rules_of_a_test_and_of_its_class_both_hold_the_tests_first(run):
    run(
        """
        import pytest

        @pytest.mark.preftune("GET /files 500 once", "GET /models 501 once")
        class TestAll:
            @pytest.mark.preftune("GET /files 503 once")
            def test_the_rules_stand_in_order(self, preftune_server):
                assert [rule.action for rule in preftune_server.faults] == ["503", "500", "501"]
        """
    )


def test_a_keyword_of_the_marker_is_refused(run):
    result = run(
        """
        import pytest

        @pytest.mark.preftune(fault="GET /files 500 once")
        def test_nothing():
            pass
        """,
        errors=1,
    )
    result.stdout.fnmatch_lines(["*the marker preftune takes rules as texts, found the keyword fault; write @pytest*"])
