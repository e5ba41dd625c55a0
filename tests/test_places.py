"""Places: the same few verbs on a local folder, on S3 (a real server on loopback) and on another
store that fsspec knows.
"""

from __future__ import annotations

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dqpipe.errors import OutputError
from dqpipe.storage.location import Place, is_url, place


@pytest.fixture(params=["local", "s3", "memory"])
def somewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "s3":
        return place(request.getfixturevalue("bucket") + "/a/prefix")
    return (
        place(tmp_path / "folder")
        if request.param == "local"
        else place(f"memory://{tmp_path.name}")
    )


def test_what_is_written_is_read_listed_replaced_and_removed(somewhere: Place) -> None:
    assert somewhere.names() == []
    names = ["a.txt", "deep/er/ä b.txt", "deep/er/[x]*?.txt", "deeper.txt"]
    for name in names:
        somewhere.write(name, name.encode())
    assert somewhere.names() == sorted(names)
    assert somewhere.names("deep") == ["deep/er/[x]*?.txt", "deep/er/ä b.txt"]
    assert [somewhere.read(name) for name in names] == [name.encode() for name in names]
    tag = somewhere.entries()["a.txt"]
    somewhere.write("a.txt", b"another")
    assert somewhere.read("a.txt") == b"another"
    assert somewhere.entries()["a.txt"] != tag
    somewhere.remove("a.txt", "was/never")
    assert not somewhere.exists("a.txt")
    somewhere.remove(*somewhere.names("deep"))
    assert somewhere.names() == ["deeper.txt"]


def test_of_many_that_create_one_wins(somewhere: Place) -> None:
    if somewhere.url.startswith("memory"):
        pytest.skip("one process")
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: somewhere.create("lock", b"%d" % n), range(8)))
    assert sum(won) == 1
    assert somewhere.read("lock") == b"%d" % won.index(True)
    assert somewhere.names() == ["lock"]


def test_a_folder_is_uploaded_and_its_files_fetched(
    somewhere: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "made"
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "*.bin").write_bytes(b"\0\1")
    (folder / "b.txt").write_text("b")
    somewhere.upload(folder, "versions/1")
    assert somewhere.names() == ["versions/1/b.txt", "versions/1/in/*.bin"]
    fetched = pickle.loads(pickle.dumps(somewhere)).fetch("versions/1/b.txt")
    assert (fetched.name, fetched.read_text()) == ("b.txt", "b")
    somewhere.write("versions/1/b.txt", b"new")
    assert somewhere.fetch("versions/1/b.txt").read_text() == "new"
    with pytest.raises(FileNotFoundError):
        somewhere.fetch("versions/2/b.txt").read_bytes()
    with pytest.raises(FileNotFoundError):
        somewhere.read("versions/2/b.txt")


@pytest.mark.parametrize("name", ["../out", "/etc/passwd", "a//b", "a/../../b", "a/.", "nul\0"])
def test_no_name_leads_out(somewhere: Place, name: str) -> None:
    for verb in (
        somewhere.read,
        somewhere.remove,
        somewhere.names,
        lambda n: somewhere.write(n, b""),
    ):
        with pytest.raises(OutputError, match="no name of a file below"):
            verb(name)


def test_what_cannot_be_reached_is_named(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OutputError, match="no-such-bucket-here"):
        place("s3://no-such-bucket-here/x").write("a", b"")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        place(tmp_path / "file").write("a", b"")
    with pytest.raises(OutputError, match="credentials") as refused:
        place("s3://key:secret@bucket/x")
    assert "secret" not in str(refused.value)
    with pytest.raises(OutputError, match="knows no nothing://"):
        place("nothing://x")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv(
        "AWS_ENDPOINT_URL", os.environ["AWS_ENDPOINT_URL"] + "/"
    )  # another filesystem, which looks for credentials anew
    with pytest.raises(OutputError, match=f"cannot write {bucket}/x/a"):
        place(f"{bucket}/x").write("a", b"")


def test_what_is_a_url() -> None:
    assert [
        is_url(t)
        for t in (
            "s3://b/x",
            "memory://x",
            "C:\\x",
            "c://x",
            "out/store",
            "file:///tmp/x",
            Path("s3:/b"),
        )
    ] == [True, True, *[False] * 5]
    assert place("file:///tmp/x").local == Path("/tmp/x")
