import gzip
import io
import tarfile

import pytest
import zstandard

from preftune.client.unpacking import move_into, unpack
from preftune.errors import IntegrityError


def archive(*members, padded=True):
    """Return a tar of (name or TarInfo, bytes) pairs."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members:
            member = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            if member.isfile():
                member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    whole = buffer.getvalue()
    return whole if padded else whole.rstrip(b"\0") + bytes(-len(whole.rstrip(b"\0")) % 512 + 1024)


def special(name, kind, link=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


def zst(content):
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


def gz(content):
    return gzip.compress(content, mtime=0)


FORMS = {"zst": zst, "gz": gz, "plain": lambda content: content}
SOUND = archive((special("deep", tarfile.DIRTYPE), b""), ("deep/weights.bin", b"w" * 9), ("config.json", b"{}"))
FOUND = {"deep/weights.bin": b"w" * 9, "config.json": b"{}"}


@pytest.fixture
def unpacked(tmp_path):
    """Return what unpacks an archive and tells what came of it."""

    def run(content):
        (tmp_path / "archive").write_bytes(content)
        unpack(tmp_path / "archive", tmp_path / "into")
        return contents(tmp_path / "into")

    return run


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# sound archives


@pytest.mark.parametrize("form", FORMS)
def test_an_archive_is_known_by_its_content_and_unpacked(unpacked, form):
    assert unpacked(FORMS[form](SOUND)) == FOUND


@pytest.mark.parametrize("form", FORMS)
def test_an_archive_may_be_padded(unpacked, form):
    assert unpacked(FORMS[form](SOUND + bytes(64 * 1024))) == FOUND


@pytest.mark.parametrize("form", ["zst", "gz"])
def test_an_archive_may_be_compressed_in_pieces(unpacked, form):
    assert unpacked(FORMS[form](SOUND[:700]) + FORMS[form](SOUND[700:])) == FOUND


def test_a_folder_without_files_and_an_archive_without_members_are_sound(unpacked, tmp_path):
    assert unpacked(archive((special("empty", tarfile.DIRTYPE), b""), (special("./", tarfile.DIRTYPE), b""))) == {}
    assert (tmp_path / "into" / "empty").is_dir()


def test_a_path_from_the_root_stays_inside_the_folder(unpacked):
    assert unpacked(archive(("/rooted.txt", b"x"), ("//a//b.txt", b"y"))) == {"rooted.txt": b"x", "a/b.txt": b"y"}


def test_long_names_and_large_members_are_whole(unpacked):
    name, weights = "/".join(["folder" * 8] * 5), bytes(range(256)) * 8192
    assert unpacked(zst(archive((name, weights), ("z", b"")))) == {name: weights, "z": b""}


# unsound ones


def damaged(content, at):
    return content[:at] + b"\xff" * 8 + content[at + 8 :]


NUL = tarfile.TarInfo("short")
NUL.pax_headers = {"path": "a\0b"}
TWO = archive(("a", b"x"), ("b", b"y"))
UNSOUND = {
    "escape": archive(("../evil", b"x")),
    "deep-escape": archive(("a/../../evil", b"x")),
    "rooted-escape": archive(("/../evil", b"x")),
    "backslashes": archive(("..\\..\\evil", b"x")),
    "one-backslash": archive(("a\\b", b"x")),
    "drive": archive(("C:/evil", b"x")),
    "drive-of-the-folder-it-is-at": archive(("c:evil", b"x")),
    "rooted-drive": archive(("/C:/evil", b"x")),
    "drive-below-here": archive(("./C:/evil", b"x")),
    "symlink": archive((special("link", tarfile.SYMTYPE, "/etc/passwd"), b"")),
    "symlink-then-file": archive((special("a", tarfile.SYMTYPE, ".."), b""), ("a/evil", b"x")),
    "hardlink": archive(("a", b"x"), (special("link", tarfile.LNKTYPE, "a"), b"")),
    "device": archive((special("null", tarfile.CHRTYPE), b"")),
    "block-device": archive((special("disk", tarfile.BLKTYPE), b"")),
    "fifo": archive((special("pipe", tarfile.FIFOTYPE), b"")),
    "nul": archive((NUL, b"x")),
    "file-and-folder": archive(("a", b"x"), ("a/b", b"x")),
    "folder-and-file": archive(("a/b", b"x"), ("a", b"x")),
    "the-folder-itself": archive((".", b"x")),
    "empty": b"",
    "html": b"<html>not found</html>" * 100,
    "zeros": bytes(512),
    "damaged-first-header": damaged(TWO, 148),
    "damaged-second-header": damaged(TWO, 1024 + 148),
    "blanked-second-header": TWO[:1024] + bytes(512) + TWO[1536:],
    "cut-tar": SOUND[: 2 * 512 + 4],
    "bad-zst": zstandard.FRAME_HEADER + b"nonsense" * 99,
    "zst-of-another-checksum": damaged(zst(SOUND), len(zst(SOUND)) - 8),
    "zst-and-more": zst(SOUND) + b"nonsense",
    "bad-gz": b"\x1f\x8b" + b"nonsense" * 99,
    "cut-gz": gz(SOUND)[:20],
    "gz-without-its-checksum": gz(SOUND)[:-6],
    "gz-of-another-checksum": gz(SOUND)[:-8] + b"wrong" + gz(SOUND)[-3:],
    "gz-cut-in-its-header": b"\x1f\x8b",
}


@pytest.mark.parametrize("name", UNSOUND)
def test_an_archive_that_is_unsound_is_refused(unpacked, tmp_path, name):
    with pytest.raises(IntegrityError, match=r"^download: expected a sound archive, found .+; download it again$"):
        unpacked(UNSOUND[name])
    assert {path.name for path in tmp_path.iterdir()} == {"archive", "into"}
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


def test_a_refusal_says_which_member_is_not_to_be_unpacked(unpacked):
    with pytest.raises(IntegrityError) as error:
        unpacked(UNSOUND["escape"])
    assert str(error.value) == (
        "download: expected a sound archive, found '../evil', which is neither a file nor a folder below the target; "
        "download it again"
    )


ZEROS = archive(("a", b"x" + bytes(1535)), ("b", b"last"), padded=False)  # the first member ends as an archive does


@pytest.mark.parametrize("form", FORMS)
def test_an_archive_that_is_cut_anywhere_is_refused(tmp_path, form):
    whole = FORMS[form](ZEROS)
    (tmp_path / "archive").write_bytes(whole)
    unpack(tmp_path / "archive", tmp_path / "whole")
    for cut in range(len(whole)):
        (tmp_path / "archive").write_bytes(whole[:cut])
        try:
            unpack(tmp_path / "archive", tmp_path / f"{cut}")
        except IntegrityError:
            continue
        # the last bytes of a zst are a checksum, which nothing is behind: all files are there
        assert form == "zst"
        assert cut >= len(whole) - 4
        assert contents(tmp_path / f"{cut}") == contents(tmp_path / "whole")


def test_a_tar_that_is_cut_in_its_padding_is_whole(unpacked):
    assert unpacked(SOUND[: len(SOUND.rstrip(b"\0")) // 512 * 512 + 512 + 1024]) == FOUND


# measure


def test_an_archive_that_unpacks_without_measure_is_refused(unpacked, monkeypatch):
    monkeypatch.setattr("preftune.client.unpacking._MAX_UNPACKED", 10)
    with pytest.raises(IntegrityError, match="found more than 10 bytes; download it again"):
        unpacked(SOUND)


@pytest.mark.parametrize("form", FORMS)
def test_a_bomb_is_refused_before_it_is_written(unpacked, tmp_path, form):
    member = tarfile.TarInfo("bomb")
    member.size = 65 * 2**30
    with pytest.raises(IntegrityError, match=r"found more than 68,719,476,736 bytes"):
        unpacked(FORMS[form](archive(("a", b"x"), padded=False)[:1024] + member.tobuf() + bytes(4096)))
    assert contents(tmp_path / "into") == {"a": b"x"}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("behind", [b"", b"x"], ids=["zeros", "zeros-and-more"])
def test_what_stands_behind_the_end_is_counted_too(unpacked, monkeypatch, form, behind):
    most = len(SOUND) + 4096
    monkeypatch.setattr("preftune.client.unpacking._MAX_UNPACKED", most)
    with pytest.raises(IntegrityError, match=f"found more than {most:,} bytes; download it again"):
        unpacked(FORMS[form](SOUND + bytes(4097) + behind))


@pytest.mark.parametrize("form", FORMS)
def test_an_archive_of_just_the_bound_is_unpacked(unpacked, monkeypatch, form):
    monkeypatch.setattr("preftune.client.unpacking._MAX_UNPACKED", len(SOUND) + 4096)
    assert unpacked(FORMS[form](SOUND + bytes(4096))) == FOUND


def test_a_colon_that_is_not_behind_one_first_letter_is_no_drive(unpacked):
    assert unpacked(archive(("c/step:40.json", b"x"), ("ab:c", b"y"))) == {"c/step:40.json": b"x", "ab:c": b"y"}


# the disk


@pytest.mark.parametrize("number", [13, 28])
def test_a_fault_of_the_disk_is_no_fault_of_the_archive(unpacked, monkeypatch, number):
    fault = OSError(number, "a fault")

    def fail(*_):
        raise fault

    monkeypatch.setattr("preftune.client.unpacking.shutil.copyfileobj", fail)
    with pytest.raises(OSError, match="a fault") as error:
        unpacked(SOUND)
    assert error.value is fault


# into place


def test_files_are_moved_into_place_and_others_stay(tmp_path):
    unpacked, target = tmp_path / "unpacked", tmp_path / "models" / "target"
    (unpacked / "deep" / "empty").mkdir(parents=True)
    (unpacked / "deep" / "new").write_text("new")
    (unpacked / "both").write_text("new")
    target.mkdir(parents=True)
    (target / "both").write_text("old")
    (target / "mine").write_text("mine")
    move_into(unpacked, target)
    assert contents(target) == {"deep/new": b"new", "both": b"new", "mine": b"mine"}


def test_the_place_is_made_also_for_nothing(tmp_path):
    (tmp_path / "unpacked").mkdir()
    move_into(tmp_path / "unpacked", tmp_path / "models" / "target")
    assert (tmp_path / "models" / "target").is_dir()
