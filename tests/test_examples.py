"""The examples run as they stand."""

import os
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[1] / "examples"
pytestmark = pytest.mark.slow


def test_the_script_runs_without_a_key(tmp_path):
    hosted = ("PREFTUNE_API_KEY", "TOGETHER_API_KEY", "PREFTUNE_BASE_URL", "TOGETHER_BASE_URL")
    environment = {name: value for name, value in os.environ.items() if name not in hosted}
    command = [sys.executable, str(EXAMPLES / "first_run.py")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "eval" in done.stdout
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()


@pytest.fixture
def folder(tmp_path, monkeypatch, preftune_environment):
    """Return a folder with files of pairs, on a machine that is pointed at the local server."""
    data = files("preftune.recipes.demo_data")
    for name, source in (("pairs", "train"), ("heldout", "heldout")):
        (tmp_path / f"{name}.jsonl").write_bytes((data / f"{source}.jsonl").read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(name, *arguments):
    """Run an example in a process of its own: exit code, output, errors."""
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_a_commit_is_trained_once(folder, preftune_client, monkeypatch):
    monkeypatch.setenv("GITHUB_SHA", "0c99d3e")
    code, out, err = run("submit_from_ci.py", "pairs.jsonl", "heldout.jsonl")
    assert (code, err) == (0, "")
    assert "healthy" in out
    before = len(preftune_client.fine_tuning.list())
    assert run("submit_from_ci.py", "pairs.jsonl", "heldout.jsonl") == (code, out, err)
    assert len(preftune_client.fine_tuning.list()) == before


def test_unfit_data_is_told_and_never_sent(folder):
    (folder / "pairs.jsonl").write_text("{}\n")
    code, out, err = run("submit_from_ci.py", "pairs.jsonl", "heldout.jsonl")
    assert (code, out) == (2, "")
    assert err.startswith("pairs.jsonl:1: ")


def test_a_run_that_goes_wrong_is_cancelled(folder):
    code, out, err = run("guard_a_run.py", "pairs.jsonl", "heldout.jsonl", "1e-3")
    assert (code, err) == (0, "")
    assert "cancel_if at step" in out
    code, out, _ = run("guard_a_run.py", "pairs.jsonl", "heldout.jsonl")
    assert (code, "cancel_if" in out) == (0, False)


def test_many_runs_are_compared(folder):
    code, out, err = run("many_runs.py", "pairs.jsonl", "heldout.jsonl")
    assert (code, err) == (0, "")
    assert re.search(r"training_method.dpo_beta +0.05 +0.1 +0.3\n", out)
    assert re.search("Best: beta-|cannot tell beta-", out)


@pytest.mark.parametrize(("name", "told"), [("from_openai.py", "job_complete"), ("from_together.py", "adapter")])
def test_scripts_that_were_moved_run(folder, name, told):
    code, out, err = run(name, "pairs.jsonl")
    assert (code, err) == (0, "")
    assert told in out


def test_the_smoke_test_of_ci_passes_and_fails_where_the_script_is_wrong(folder):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLES / "ci" / "test_train.py")]

    def smoke(script):
        environment = os.environ | {"TRAIN_SCRIPT": str(script)}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        return done.returncode, done.stdout.splitlines()[-1]

    assert smoke(EXAMPLES / "submit_from_ci.py")[0] == 0
    careless = folder / "careless.py"
    text = (EXAMPLES / "submit_from_ci.py").read_text(encoding="utf-8")
    careless.write_text(text.replace("client.fine_tuning.wait(job)", "pass"), encoding="utf-8")
    code, last = smoke(careless)
    assert code == 1
    assert "failed" in last


def test_the_workflow_runs_commands_that_there_are():
    steps = re.findall(r"- run: (.+)", (EXAMPLES / "ci" / "train.yml").read_text(encoding="utf-8"))
    assert steps == [
        'pip install "preftune[local]" pytest',
        "preftune check pairs.jsonl --validation heldout.jsonl --format github",
        "pytest test_train.py",
    ]


NOTEBOOKS = sorted(path.name for path in EXAMPLES.glob("*.ipynb"))


def kinds(notebook):
    """Return for each code cell what kinds of output it has."""
    return [
        sorted({kind for output in cell.outputs for kind in output.get("data", {output.output_type: ""})})
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")  # of the notebook's machinery, not ours
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_and_shows_what_is_committed(tmp_path, name):
    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    committed = kinds(notebook)
    assert any(committed)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert kinds(notebook) == committed


def test_every_example_is_listed():
    listed = set(re.findall(r"\]\(([^)]+)\)", (EXAMPLES / "README.md").read_text(encoding="utf-8")))
    there = {path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*.*") if "__pycache__" not in path.parts}
    assert listed == there - {"README.md"}
