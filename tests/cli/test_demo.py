import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from preftune.recipes import demo as demo_recipe


@pytest.mark.slow
def test_the_demo_tells_rows_picture_and_the_two_lines_to_change(run, tmp_path, monkeypatch):
    monkeypatch.setattr(demo_recipe, "SFT_FIELDS", {"n_epochs": 1})
    monkeypatch.setattr(demo_recipe, "DPO_FIELDS", {"n_epochs": 1, "n_evals": 2})
    code, out, err = run("demo", "--out", str(tmp_path / "adapter"))
    assert (code, err) == (0, "")
    assert "dpo       1 train  0.693       0%        0.0      0.0" in out
    assert "loss   o train   x evaluation   · nothing learned" in out
    assert "judged on held-out prompts. On evaluation rows, loss went from 0.693" in " ".join(out.split())
    assert "client = pt.Client(base_url=server.url, api_key=server.api_key)  # pt.Client()" in out
    assert max(len(line) for line in out.splitlines() if str(tmp_path) not in line) <= 80

    code, out, _ = run("demo", "--json", "--out", str(tmp_path / "adapter"))
    assert (code, json.loads(out)["pairs"]) == (0, 300)


@pytest.mark.slow
def test_interrupting_a_demo_leaves_no_process_behind(tmp_path):
    command = [sys.executable, "-m", "preftune", "demo", "--out", str(tmp_path / "adapter")]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    for _ in range(4):  # until the first row: the server and its worker run
        demo.stdout.readline()
    (worker,) = children(demo.pid)
    demo.send_signal(signal.SIGINT)
    _, err = demo.communicate(timeout=20)
    assert (demo.returncode, err) == (130, "\npreftune: interrupted; nothing is left running\n")
    assert not Path(f"/proc/{worker}").exists()


def children(pid):
    """Return the process ids of a process's children."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text(encoding="ascii").split()]
    return found
