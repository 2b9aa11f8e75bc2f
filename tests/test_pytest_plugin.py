import numpy as np  # noqa: F401 - it bears no second import, and runs in this process forget what they imported
import pytest

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
