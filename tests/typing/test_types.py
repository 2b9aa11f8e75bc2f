import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_mypy_says_of_the_clients_what_is_written_down():
    file = Path(__file__).parent.relative_to(ROOT) / "client_types.py"
    command = [sys.executable, "-m", "mypy", "--warn-unused-ignores", file]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "Success: no issues found in 1 source file\n")
