"""The page on testing, done as it says."""

import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from preftune.recipes.sample import write_sample

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
SCRIPT = """
import preftune as pt

with pt.Client() as client:
    file = client.files.upload("pairs.jsonl")
    job = client.fine_tuning.create(model="Qwen/Qwen3-8B", training_file=file.id, training_method="dpo")
    assert [row.step for row in client.fine_tuning.stream_metrics(job)] == [1, 2]
"""

pytest_plugins = ["pytester"]


@pytest.mark.slow
def test_the_tests_of_the_page_pass_as_they_stand(pytester):
    write_sample(pytester.path)[0].rename(pytester.path / "pairs.jsonl")
    (pytester.path / "train.py").write_text(SCRIPT, encoding="utf-8")
    pytester.makepyfile("\n\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)))
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-W", "error", "--strict-markers")
    result.assert_outcomes(passed=PAGE.count("def test_"))


def test_every_fixture_of_the_page_is_there_and_the_other_way_round(pytestconfig):
    source = (Path(__file__).parents[2] / "src" / "preftune" / "pytest_plugin.py").read_text(encoding="utf-8")
    fixtures = set(re.findall(r"^def (preftune_\w+)\(", source, re.MULTILINE))
    assert set(re.findall(r"^\| `(preftune_\w+)` \|", PAGE, re.MULTILINE)) == fixtures


@pytest.mark.slow
def test_the_lines_for_ci_run_as_they_stand(tmp_path):
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    install, serve, train = [line.removeprefix("- run: ") for line in block.splitlines()]
    assert install == 'pip install "preftune[local]"'  # which it is, here
    write_sample(tmp_path)[0].rename(tmp_path / "pairs.jsonl")
    (tmp_path / "train.py").write_text(SCRIPT, encoding="utf-8")
    with socket.socket() as free:  # another port than the page's, which somebody may be using
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    bins = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{bins}{os.pathsep}{os.environ['PATH']}"}
    command = shlex.split(f"{serve.removesuffix(' &')} --port {port}")
    server = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        while "PREFTUNE_API_KEY" not in server.stdout.readline():
            assert server.poll() is None
        shell = ["sh", "-c", train.replace("8765", str(port))]
        done = subprocess.run(shell, cwd=tmp_path, env=environment, check=False)
        assert done.returncode == 0
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()
