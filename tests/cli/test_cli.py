import io
import os
import subprocess
import sys

import pytest
from click.shell_completion import ShellComplete

from preftune import cli as module
from preftune.cli import _COMMANDS, cli, main

COMMANDS = list(_COMMANDS)
ON_ONE_FILE = [["check"], ["stats"], ["advise"], ["rehearse"], ["fix", ..., "new.jsonl"], ["sft", ..., "new.jsonl"],
               ["split", ..., "a.jsonl", "b.jsonl"], ["convert", ..., "new.jsonl"]]  # fmt: skip
WELL = [("trl.jsonl", "sft"), ("trl.jsonl", "convert"), ("sft.jsonl", "advise")]  # read, or advised on, all the same


def arguments(command, file):
    """Return the arguments of a command on a file."""
    return [file if each is ... else each for each in (command if ... in command else [*command, ...])]


@pytest.mark.parametrize("command", ON_ONE_FILE, ids=lambda command: command[0])
def test_no_file_whatever_ends_in_a_traceback_and_each_has_words(run, folder, bad_files, command):
    left = sorted(folder.iterdir())
    for name in bad_files:
        code, out, err = run(*arguments(command, name))
        assert "Traceback" not in out + err
        assert out + err
        if (name, command[0]) in WELL:
            assert (code, err) == (0, "")
        else:
            assert code == 2, name
    for made in set(folder.iterdir()) - set(left):
        made.unlink()
    for name in bad_files[:2]:  # what is no file leaves nothing behind
        assert run(*arguments(command, name))[0] == 2
        assert sorted(folder.iterdir()) == left


@pytest.mark.parametrize("command", [*ON_ONE_FILE, ["demo", "--data"]], ids=lambda command: command[0])
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("absent.jsonl", "expected a file, found nothing there; check the spelling and the current folder"),
        ("folder.jsonl", "expected a file, found a folder; name the file in it"),
    ],
)
def test_what_is_no_file_is_told_in_one_sentence(run, folder, command, name, sentence):
    (folder / "folder.jsonl").mkdir()
    code, _, err = run(*arguments(command, name))
    assert (code, err) == (2, f"preftune: {name}: {sentence}\n")


@pytest.mark.parametrize("command", ["fix", "sft", "convert"])
@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("pairs.jsonl", "expected a file of its own, found one that is read or written as well; give it another name"),
        ("new.json", "expected a .jsonl file to write, found .json; rename it"),
        (".", "expected the name of a file to write, found a folder; name a file in it"),
        ("no/new.jsonl", "cannot be written (No such file or directory); see that its folder is there and yours"),
    ],
)
def test_a_target_that_cannot_be_written_is_told_and_nothing_is_left(
    run, folder, write, good, command, target, sentence
):
    write(good())
    before = {path: path.read_bytes() for path in folder.iterdir()}
    code, out, err = run(command, "pairs.jsonl", target)
    assert (code, out) == (2, "")
    assert err.endswith(f"{sentence}\n")
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_misspelt_command_or_option_gets_the_nearest_one(run):
    for wrong, hint in [
        (["chek", "x"], "No such command 'chek'. Did you mean 'check'?"),
        (["xyzzy"], "No such command 'xyzzy'."),
        (["check", "--jsn", "x"], "No such option '--jsn'. Did you mean '--json'?"),
        (["check", "--sample", "many", "x"], "Invalid value for '--sample': 'many' is not a valid integer range."),
        (["check"], "Missing argument 'FILE'."),
        (["check", "a", "b"], "Got unexpected extra argument (b)"),
        (["serve", "--port", "many"], "Invalid value for '--port': 'many' is not a valid integer range."),
        (["convert", "a", "b", "--to", "csv"], "'csv' is not one of 'together', 'trl', 'sharegpt'."),
        (["--nonsense"], "No such option '--nonsense'."),
    ]:
        code, out, err = run(*wrong)
        assert (code, out) == (2, "")
        assert err.startswith("Usage: preftune ")
        assert "Try 'preftune" in err
        assert hint in err


def test_help_lists_every_command_within_80_columns(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run("--help")
    assert code == 0
    listed = out.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in listed if line[2].isalpha()] == COMMANDS
    for name in COMMANDS:
        code, out, _ = run(name, "-h")
        assert code == 0
        assert max(map(len, out.splitlines())) <= 80
        listed = [line for line in out.splitlines() if line.startswith(("  -", "  upload"))]
        assert len(listed) >= 2


def test_help_tells_the_exit_codes_of_commands_that_judge(run):
    told = {name: run(name, "--help")[1].partition("Exit code: ")[2].partition("\n")[0] for name in COMMANDS}
    assert {name: codes for name, codes in told.items() if codes} == {
        "check": "0 clean, 1 warnings under --strict, 2 errors.",
        "fix": "0 when no error is left, 2 when one is.",
        "watch": "0 when it is completed, 1 when it ended otherwise.",
    }


def test_the_version_is_told(run):
    assert run("--version")[1].startswith("preftune, version ")


def test_every_command_is_offered_for_completion():
    completion = ShellComplete(cli, {}, "preftune", "_PREFTUNE_COMPLETE")
    assert [item.value for item in completion.get_completions([], "")] == COMMANDS


def test_only_the_command_that_is_run_is_imported():
    code = (
        "import sys; from preftune.cli import main\n"
        "try: main(['split', '--help'])\n"
        "except SystemExit: print(sorted(set(sys.modules) & {'rich', 'httpx', 'pydantic', 'preftune.cli.check'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_interrupting_ends_in_130_and_says_so(run, monkeypatch, tmp_path):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("preftune.cli.demo.run_demo", interrupted)
    code, _, err = run("demo", "--out", tmp_path)
    assert (code, err) == (130, "\npreftune: interrupted; nothing is left running\n")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PermissionError(13, "Permission denied", "a.jsonl"), "a.jsonl: Permission denied"),
        (OSError(5, "Input/output error"), "[Errno 5] Input/output error"),
        (OSError("odd"), "odd"),
    ],
)
def test_an_error_of_the_system_is_one_sentence(run, monkeypatch, error, told):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr("preftune.cli.split.split", fails)
    assert run("split", "a", "b", "c") == (2, "", f"preftune: {told}\n")


def test_a_name_that_is_no_text_is_shown_with_a_question_mark(piped, write, good, folder):
    write(good())
    name = os.fsdecode(b"\xff\xc3.jsonl")
    os.link(folder / "pairs.jsonl", folder / name)
    for form in ("text", "json", "github"):
        code, out, err = piped("check", "--format", form, name)
        assert (code, err) == (0, b"")
        assert b".jsonl" in out
    assert piped("check", "no" + name)[:2] == (2, b"")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_the_encoding_of_a_pipe_ends_no_command(piped, write, good, encoding):
    write(good("é→"), b"")
    for more in ([], ["--json"], ["--format", "github"]):
        code, out, err = piped("check", "pairs.jsonl", *more, PYTHONIOENCODING=encoding)
        assert (code, err) == (0, b"")
        assert b"pairs.jsonl" in out


def test_a_stream_without_an_encoding_is_written_to_as_it_is(monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    with pytest.raises(SystemExit):
        main(["--version"])
    assert out.getvalue() == f"preftune, version {module.version('preftune')}\n"


def test_a_pipe_that_is_closed_early_ends_quietly(folder, write, good):
    write(*[good(f"{number}", "same", "same") for number in range(3)], b"{" * 10)
    command = [sys.executable, "-m", "preftune", "check", "pairs.jsonl", "--format", "json"]
    done = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    done.stdout.close()
    assert done.stderr.read() == b""
    done.stderr.close()
    assert done.wait() != 0
