import errno
import os
import re

import pytest

from preftune.errors import DataError
from preftune.pairs import writing as module
from preftune.pairs.writing import jsonl_name, writing


def refuses(message):
    return pytest.raises(DataError, match=f"^{re.escape(message)}$")


def test_a_file_is_there_when_the_block_has_ended_and_not_before(tmp_path):
    target = tmp_path / "out.jsonl"
    with writing(str(target)) as file:
        file.write(b"one\n")
        assert not target.exists()
        file.write(b"two\n")
    assert target.read_bytes() == b"one\ntwo\n"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit, OSError])
def test_an_error_leaves_the_older_file_and_nothing_else(tmp_path, error):
    target = tmp_path / "out.jsonl"
    target.write_bytes(b"older")

    def write():
        with writing(target) as file:
            file.write(b"newer")
            raise error

    with pytest.raises(error):
        write()
    assert list(tmp_path.iterdir()) == [target]
    assert target.read_bytes() == b"older"


def test_a_file_of_the_user_is_never_taken_for_the_temporary_one(tmp_path, monkeypatch):
    mine = tmp_path / "out.jsonl.part"
    mine.write_bytes(b"mine")
    with writing(tmp_path / "out.jsonl", mine) as file:
        file.write(mine.read_bytes())
    assert (mine.read_bytes(), (tmp_path / "out.jsonl").read_bytes()) == (b"mine", b"mine")
    monkeypatch.setattr(module, "token_hex", lambda _: "0")
    mine = mine.rename(tmp_path / "new.jsonl.0.part")
    with (
        refuses(f"{tmp_path / 'new.jsonl'}: cannot be written (File exists); see that its folder is there and yours"),
        writing(tmp_path / "new.jsonl"),
    ):
        pytest.fail("it was opened")
    assert not (tmp_path / "new.jsonl").exists()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT])
def test_a_full_disk_is_told_with_the_name_of_the_file(tmp_path, code):
    target = tmp_path / "out.jsonl"
    with (
        refuses(f"{target}: cannot be written ({os.strerror(code)}); see that its folder is there and yours"),
        writing(target),
    ):
        raise OSError(code, os.strerror(code))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error", [OSError("odd"), ConnectionResetError(errno.ECONNRESET, "reset"), OSError(errno.EIO, "x")]
)
def test_an_error_without_a_file_that_writing_does_not_raise_is_not_the_target_s(tmp_path, error):
    with pytest.raises(OSError) as caught, writing(tmp_path / "out.jsonl"):  # noqa: PT011 - compared as a whole
        raise error
    assert caught.value is error
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent"), writing(tmp_path / "out.jsonl"):
        (tmp_path / "absent").read_bytes()
    assert list(tmp_path.iterdir()) == []


def test_a_target_without_a_folder_is_refused(tmp_path):
    target = tmp_path / "absent" / "out.jsonl"
    message = f"{target}: cannot be written (No such file or directory); see that its folder is there and yours"
    with refuses(message), writing(target):
        pytest.fail("it was opened")


@pytest.mark.parametrize("name", [".", "", "/"])
def test_a_folder_is_refused(name):
    with pytest.raises(DataError, match=r": expected the name of a file to write, found a folder; name a file in it$"):
        writing(name).__enter__()


def test_a_device_or_a_pipe_is_refused_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    with (
        refuses(f"{pipe}: expected the name of a file to write, found a device or a pipe; name a file"),
        writing(pipe),
    ):
        pytest.fail("it was opened")
    assert pipe.is_fifo()


def test_two_names_of_one_file_are_known_as_one(tmp_path, monkeypatch):
    (tmp_path / "one.jsonl").write_bytes(b"one")
    (tmp_path / "soft.jsonl").symlink_to("one.jsonl")
    os.link(tmp_path / "one.jsonl", tmp_path / "hard.jsonl")
    (tmp_path / "loop.jsonl").symlink_to("loop.jsonl")
    monkeypatch.chdir(tmp_path)
    names = ["one.jsonl", "soft.jsonl", "hard.jsonl", "./one.jsonl", str(tmp_path / "one.jsonl")]
    for target in names:
        for other in names:
            with (
                refuses(
                    f"{os.path.normpath(target)}: expected a file of its own, found one that is read or written as "
                    "well; give it another name"
                ),
                writing(target, "other.jsonl", other),
            ):
                pytest.fail("it was opened")
    for new, other in [("new.jsonl", "./new.jsonl"), ("loop.jsonl", "loop.jsonl")]:  # neither is there
        with pytest.raises(DataError, match="a file of its own"), writing(new, other):
            pytest.fail("it was opened")
    with writing("new.jsonl", "one.jsonl", "other.jsonl"):
        pass
    assert (tmp_path / "one.jsonl").read_bytes() == b"one"


@pytest.mark.parametrize("name", ["a.jsonl", "A.JSONL", "x/a.b.jsonl", "."])
def test_names_of_jsonl_files_are_taken_and_folders_left_to_be_told(name):
    assert str(jsonl_name(name)) == name


@pytest.mark.parametrize(("name", "found"), [("a.json", ".json"), ("a", "no extension"), (".jsonl", "no extension")])
def test_other_names_are_refused(name, found):
    with refuses(f"{name}: expected a .jsonl file to write, found {found}; rename it"):
        jsonl_name(name)
