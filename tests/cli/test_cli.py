import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from click.shell_completion import ShellComplete

from preftune.cli import cli, main
from preftune.recipes import demo as demo_recipe

GOOD = (
    '{"input": {"messages": [{"role": "user", "content": "q"}]}, '
    '"preferred_output": [{"role": "assistant", "content": "a"}], '
    '"non_preferred_output": [{"role": "assistant", "content": "b"}]}\n'
)


def run(capsys, *arguments):
    """Run the command line; return exit code, standard output, standard error."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    out, err = capsys.readouterr()
    return end.value.code, out, err


def test_a_clean_file_is_called_clean(capsys, tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text(GOOD)
    assert run(capsys, "check", str(path)) == (0, "pairs.jsonl: 1 pair, no error and no warning\n", "")


def test_errors_end_in_2_and_name_line_path_and_mend(capsys, tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text(
        GOOD + GOOD.replace('[{"role": "assistant", "content": "b"}]', '[{"role": "user", "content": "b"}]')
    )
    code, out, err = run(capsys, "check", str(path))
    assert (code, err) == (2, "")
    assert "pairs.jsonl:2: non_preferred_output[0].role is 'user'; it must be 'assistant'" in out


def test_warnings_end_in_1_only_when_strict(capsys, tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text(GOOD + GOOD)
    assert run(capsys, "check", str(path))[0] == 0
    assert run(capsys, "check", "--strict", str(path))[0] == 1


def test_the_report_is_one_json_object(capsys, tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text(GOOD)
    code, out, _ = run(capsys, "check", "--json", str(path))
    assert (code, json.loads(out)) == (0, {"path": str(path), "ok": True, "pairs": 1, "findings": []})


@pytest.mark.parametrize("command", [["check"], ["demo", "--data"]])
@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("none.jsonl", None, "expected a file, found nothing there"),
        ("folder", ..., "expected a file, found a folder"),
        ("pairs.csv", b"a,b\n", "found '.csv'"),
        ("empty.jsonl", b"", "there is no pair in the file"),
        (
            "latin.jsonl",
            GOOD.encode() + b'{"a": "\xe9"}\n',
            "latin.jsonl:2: byte 0xe9 at byte 7 of the line is not UTF-8",
        ),
        ("broken.jsonl", GOOD.encode() + b'{"input": \n', "broken.jsonl:2: not JSON at column"),
    ],
)
def test_bad_input_gets_one_sentence_and_exit_code_2(capsys, tmp_path, command, name, content, sentence):
    path = tmp_path / name
    if content is ...:
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    code, out, err = run(capsys, *command, str(path))
    assert code == 2
    assert sentence in out + err
    assert "Traceback" not in out + err


def test_a_misspelt_command_or_option_gets_help_not_a_traceback(capsys):
    for arguments in (["chek"], ["check", "--jsn", "x"], ["serve", "--port", "many"]):
        code, out, err = run(capsys, *arguments)
        assert (code, out) == (2, "")
        assert "Error: " in err


def test_every_command_tells_what_it_does(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    for name in ("check", "demo", "serve"):
        assert f"  {name} " in out
        assert run(capsys, name, "--help")[0] == 0


def test_every_command_is_offered_for_completion():
    completion = ShellComplete(cli, {}, "preftune", "_PREFTUNE_COMPLETE")
    assert [item.value for item in completion.get_completions([], "")] == ["check", "demo", "serve"]


def test_interrupting_ends_in_130_and_says_so(capsys, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("preftune.cli.demo.run_demo", interrupted)
    code, _, err = run(capsys, "demo", "--out", str(tmp_path))
    assert (code, err) == (130, "\npreftune: interrupted; nothing is left running\n")


@pytest.mark.slow
def test_the_demo_tells_rows_picture_and_the_two_lines_to_change(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(demo_recipe, "SFT_FIELDS", {"n_epochs": 1})
    monkeypatch.setattr(demo_recipe, "DPO_FIELDS", {"n_epochs": 1, "n_evals": 2})
    code, out, err = run(capsys, "demo", "--out", str(tmp_path / "adapter"))
    assert (code, err) == (0, "")
    assert "dpo       1 train  0.693       0%        0.0      0.0" in out
    assert "loss   o train   x eval   · nothing learned" in out
    assert "judged on held-out prompts. On evaluation rows, loss went from 0.693" in " ".join(out.split())
    assert "client = pt.Client(base_url=server.url, api_key=server.api_key)  # pt.Client()" in out
    assert max(len(line) for line in out.splitlines() if str(tmp_path) not in line) <= 80

    code, out, _ = run(capsys, "demo", "--json", "--out", str(tmp_path / "adapter"))
    assert (code, json.loads(out)["pairs"]) == (0, 300)


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
