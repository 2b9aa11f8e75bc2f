pytest_plugins = ["pytester"]

SCRIPT = """
    def test_a_script_submits_a_job(preftune_server, preftune_client, tmp_path):
        assert preftune_client.base_url == preftune_server.url
        assert preftune_client.fine_tuning.list() == []
"""


def test_the_fixtures_serve_a_users_test(pytester):
    pytester.makepyfile(SCRIPT)
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_the_plugin_costs_nothing_to_a_run_that_does_not_use_it(pytester):
    pytester.makepyfile(
        """
        import sys
        def test_nothing_heavy_is_imported():
            ours = {name for name in sys.modules if name.startswith("preftune")}
            assert ours == {"preftune", "preftune.pytest_plugin"}
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
