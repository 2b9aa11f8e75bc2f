"""The examples run as they stand."""

import os
import subprocess
import sys
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


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")  # of the notebook's machinery, not ours
def test_the_notebook_runs_and_shows_its_pictures(tmp_path):
    notebook = nbformat.read(EXAMPLES / "first_run.ipynb", as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in shown if output.output_type == "error"]
    assert any("<svg" in output.get("data", {}).get("text/html", "") for output in shown)
