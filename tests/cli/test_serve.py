import signal
import subprocess
import sys

import httpx
import pytest


@pytest.mark.slow
def test_serve_prints_what_to_paste_and_ends_on_a_signal(tmp_path):
    command = [
        sys.executable,
        "-m",
        "preftune",
        "serve",
        "--port",
        "0",
        "--data-dir",
        str(tmp_path / "d"),
        "--api-key",
        "k",
    ]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        lines = [server.stdout.readline() for _ in range(4)]
        url = lines[2].removeprefix("export PREFTUNE_BASE_URL=").strip()
        assert lines[3] == "export PREFTUNE_API_KEY=k\n"
        assert httpx.get(f"{url}/v1/files", headers={"authorization": "Bearer k"}).json() == {
            "object": "list",
            "data": [],
        }
        second = subprocess.run(
            [*command[:4], "--port", url.rpartition(":")[2]], capture_output=True, text=True, check=False
        )
        assert second.returncode == 2
        assert second.stderr.startswith("preftune: port ")
    finally:
        server.send_signal(signal.SIGTERM)
        _, err = server.communicate(timeout=20)
    assert (server.returncode, err) == (0, "")
