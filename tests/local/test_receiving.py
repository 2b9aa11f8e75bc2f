import asyncio
import hashlib

import pytest

from preftune.local.receiving import put_together, receive
from preftune.local.refusal import Refused

MIB = 2**20


async def in_pieces(*pieces):
    for piece in pieces:
        if isinstance(piece, Exception):
            raise piece
        yield piece


def received(path, *pieces, **more):
    return asyncio.run(receive(in_pieces(*pieces), path, **({"fits": lambda: None} | more)))


def joined(parts, path, **more):
    return asyncio.run(put_together(parts, path, **({"fits": lambda: None} | more)))


def refused(act, *args, **more):
    with pytest.raises(Refused) as caught:
        act(*args, **more)
    return caught.value.status, caught.value.param, caught.value.message


def digest(content):
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("pieces", [[], [b""], [b"abc"], [b"a", b"", b"bc"], [b"x" * MIB, b"y" * MIB, b"z"]])
def test_a_stream_is_written_whole_and_measured(tmp_path, pieces):
    content, path = b"".join(pieces), tmp_path / "new" / "folder" / "file"
    assert received(path, *pieces) == (len(content), digest(content))
    assert received(path, *pieces, checksum=digest(content)) == (len(content), digest(content))
    assert [(one.name, one.read_bytes()) for one in path.parent.iterdir()] == [("file", content)]


def test_a_stream_that_is_not_what_was_announced_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    message = "the 2 bytes that arrived do not have the announced SHA-256"
    for before in (None, b"before"):
        if before:
            path.write_bytes(before)
        assert refused(received, path, b"a", b"b", checksum=digest(b"abc")) == (400, "checksum", message)
        assert [one.read_bytes() for one in tmp_path.iterdir()] == ([before] if before else [])


def test_a_stream_that_breaks_off_leaves_nothing(tmp_path):
    with pytest.raises(ConnectionError):
        received(tmp_path / "file", b"a", ConnectionError())
    assert list(tmp_path.iterdir()) == []


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path):
    path, seen = tmp_path / "file", []

    async def pieces():
        yield b"ab"
        seen.extend(one.suffix for one in tmp_path.iterdir())
        yield b"c"

    asyncio.run(receive(pieces(), path, fits=lambda: None))
    assert (seen, path.read_bytes()) == ([".part"], b"abc")


def test_two_streams_to_one_path_do_not_mix(tmp_path):
    path = tmp_path / "file"

    async def both():
        return await asyncio.gather(
            *(receive(in_pieces(*[piece] * 50), path, fits=lambda: None) for piece in (b"a", b"b"))
        )

    assert [size for size, _ in asyncio.run(both())] == [50, 50]
    assert path.read_bytes() in (b"a" * 50, b"b" * 50)
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def parts(tmp_path):
    """Return the paths of three parts, one of them longer than a block."""
    paths = []
    for number, content in enumerate([b"a" * (MIB + 1), b"", b"bc"], start=1):
        paths.append(tmp_path / "parts" / f"{number}")
        paths[-1].parent.mkdir(exist_ok=True)
        paths[-1].write_bytes(content)
    return paths


WHOLE = b"a" * (MIB + 1) + b"bc"


@pytest.mark.parametrize("checksum", ["", digest(WHOLE)], ids=["unknown", "known"])
def test_parts_are_put_together_in_their_order(tmp_path, parts, checksum):
    path = tmp_path / "whole" / "file"
    joined(parts, path, size=len(WHOLE), checksum=checksum)
    assert [(one.name, one.read_bytes()) for one in path.parent.iterdir()] == [("file", WHOLE)]


@pytest.mark.parametrize(
    ("size", "checksum", "param", "message"),
    [
        (len(WHOLE), "0" * 64, "checksum", f"the {len(WHOLE)} bytes that arrived do not have the announced SHA-256"),
        (len(WHOLE) + 1, "", "parts", f"the parts have {len(WHOLE)} bytes in all; {len(WHOLE) + 1} were announced"),
        (len(WHOLE) - 1, "", "parts", f"the parts have {len(WHOLE)} bytes in all; {len(WHOLE) - 1} were announced"),
    ],
)
def test_parts_that_are_not_what_was_announced_make_no_file(tmp_path, parts, size, checksum, param, message):
    path = tmp_path / "whole" / "file"
    assert refused(joined, parts, path, size=size, checksum=checksum) == (400, param, message)
    assert list(path.parent.iterdir()) == []


def test_a_part_that_is_gone_makes_no_file(tmp_path, parts):
    path = tmp_path / "whole" / "file"
    parts[1].unlink()
    with pytest.raises(FileNotFoundError):
        joined(parts, path, size=len(WHOLE), checksum="")
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("kind", ["parts", "stream"])
def test_bytes_that_do_not_fit_any_more_when_all_are_there_get_no_name(tmp_path, parts, kind):
    path = tmp_path / "whole" / "file"

    def fits():
        assert [one.suffix for one in path.parent.iterdir()] == [".part"]
        raise Refused("it is gone", status=403)

    if kind == "stream":
        assert refused(received, path, b"abc", fits=fits) == (403, None, "it is gone")
    else:
        assert refused(joined, parts, path, fits=fits, size=len(WHOLE), checksum="") == (403, None, "it is gone")
    assert list(path.parent.iterdir()) == []
