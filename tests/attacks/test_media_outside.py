"""Links and paths that lead out of a dataset's folder.

Nothing there is read, shown or copied, unless somebody allows it.
"""

from __future__ import annotations

import os
import socket
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import dqpipe
from dqpipe.api import Pipeline
from dqpipe.errors import DatasetError, MediaError, OutsideError
from dqpipe.execution.decoding import read_bytes
from dqpipe.storage import checked_files
from dqpipe.storage.checked_files import Inside
from tests import faulty

RULES = "policy: {rules: {files.outside: keep}}\n"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A picture of somebody's, outside every dataset."""
    path = tmp_path / "private" / "id.png"
    path.parent.mkdir(mode=0o700)
    faulty.picture(path, seed=7)
    path.chmod(0o600)
    return path


@pytest.fixture
def dataset(tmp_path: Path, secret: Path) -> Path:
    """Three pictures and all kinds of links out of their folder."""
    root = tmp_path / "data"
    for number in range(3):
        (root / "cat").mkdir(parents=True, exist_ok=True)
        faulty.picture(root / "cat" / f"{number}.png", seed=number)
    (root / "cat" / "inside.png").symlink_to("0.png")
    (root / "cat" / "absolute.png").symlink_to(secret)
    (root / "cat" / "relative.png").symlink_to("../../private/id.png")
    (root / "cat" / "first.png").symlink_to("second.png")
    (root / "cat" / "second.png").symlink_to(secret)
    (root / "cat" / "nowhere.png").symlink_to("/nonexistent/x.png")
    (root / "folder").symlink_to(secret.parent, target_is_directory=True)
    (root / "loop").symlink_to(root, target_is_directory=True)
    (root / "cat" / "self.png").symlink_to("self.png")
    return root


OUT = [
    "cat/absolute.png",
    "cat/first.png",
    "cat/nowhere.png",
    "cat/relative.png",
    "cat/second.png",
    "folder",
]


def run(
    source: Path, out: Path, more: str = "", files: str = "copy", section: str = "", **options: Any
) -> dqpipe.Result:
    text = (
        f"dataset: {{path: '{source}'{section}}}\nstages: [files]\n{more}gates: []\noutputs: "
        f"{{path: '{out}', files: {files}}}\n"
    )
    return Pipeline.from_text(text).run("serial", **options)


def written(out: Path) -> Iterator[Path]:
    return (path for path in out.rglob("*") if path.is_file() and not path.is_symlink())


@pytest.mark.parametrize("files", ["copy", "hardlink", "manifest"])
@pytest.mark.parametrize("more", ["", RULES], ids=["dropped", "kept"])
def test_what_links_lead_to_is_a_finding_and_copied_nowhere(
    dataset: Path, secret: Path, tmp_path: Path, files: str, more: str
) -> None:
    result = run(dataset, tmp_path / "out", more, files)
    found = result.findings[result.findings["code"] == "files.outside"]
    assert sorted(found["id"]) == OUT
    assert found["detail"].str.startswith("outside the dataset's folder: it leads to /").all()
    assert result.samples.set_index("id")["content"][OUT].isna().all()
    assert sorted(result.facts.loc[result.facts["media.ok"], "id"]) == [
        "cat/0.png",
        "cat/1.png",
        "cat/2.png",
        "cat/inside.png",
    ]
    data = secret.read_bytes()
    assert not [
        path
        for path in written(tmp_path / "out")
        if path.read_bytes() == data or path.stat().st_ino == secret.stat().st_ino
    ]
    assert not [path for path in (tmp_path / "out" / "versions").rglob("*") if path.is_symlink()]
    assert data[50:90].hex() not in (tmp_path / "out" / "report.html").read_bytes().hex()
    assert result.pixels is not None
    with pytest.raises(OutsideError):
        result.pixels(["cat/absolute.png"])
    assert result.record["account"]["alerts"] == [
        (
            "6 files lie outside the dataset's folder and were left alone, neither read nor "
            "copied: `dataset: {outside: allow}` takes them."
        )
    ]


def test_whoever_allows_it_gets_them_with_their_modes(dataset: Path, tmp_path: Path) -> None:
    result = run(dataset, tmp_path / "out", section=", outside: allow")
    assert "files.outside" not in set(result.findings["code"])
    curated = tmp_path / "out" / "curated"
    modes = {
        name: (curated / name).stat().st_mode & 0o7777
        for name in ("cat/absolute.png", "cat/0.png", "folder/id.png")
    }
    assert modes == {"cat/absolute.png": 0o600, "cat/0.png": 0o644, "folder/id.png": 0o600}


def test_what_was_allowed_once_is_refused_again_though_its_facts_are_known(
    dataset: Path, tmp_path: Path
) -> None:
    run(dataset, tmp_path / "out", section=", outside: allow")
    result = run(dataset, tmp_path / "out", force=True)
    assert sorted(result.findings.loc[result.findings["code"] == "files.outside", "id"]) == OUT


def test_the_root_itself_may_be_a_link_and_links_inside_are_followed(
    dataset: Path, tmp_path: Path
) -> None:
    (tmp_path / "alias").symlink_to(dataset)
    result = run(tmp_path / "alias", tmp_path / "out")
    assert sorted(result.facts.loc[result.facts["media.ok"], "id"]) == [
        "cat/0.png",
        "cat/1.png",
        "cat/2.png",
        "cat/inside.png",
    ]
    assert (tmp_path / "out/curated/cat/inside.png").read_bytes() == (
        dataset / "cat/0.png"
    ).read_bytes()


def test_paths_of_a_manifest_stay_below_its_folder(
    dataset: Path, secret: Path, tmp_path: Path
) -> None:
    cells = [
        "cat/0.png",
        "../private/id.png",
        str(secret),
        "cat/../cat/1.png",
        "cat/../../private/id.png",
        "/proc/self/environ",
        "/etc/passwd",
    ]
    pd.DataFrame({"image": cells, "label": "a"}).to_csv(dataset / "m.csv", index=False)
    result = run(
        dataset / "m.csv", tmp_path / "out", section=", reader: manifest, roles: {media: image}"
    )
    outside = result.findings.loc[result.findings["code"] == "files.outside", "id"]
    assert sorted(outside) == sorted([*cells[1:3], *cells[4:]])
    assert not [
        path
        for path in written(tmp_path / "out")
        if b"HOME=" in (data := path.read_bytes()) or data == secret.read_bytes()
    ]
    allowed = run(
        dataset / "m.csv",
        tmp_path / "allowed",
        section=", reader: manifest, roles: {media: image}, outside: allow",
    )
    reasons = allowed.findings.set_index("id")["detail"]
    assert "one of the system's" in reasons["/proc/self/environ"]
    assert not [path for path in written(tmp_path / "allowed") if b"HOME=" in path.read_bytes()]


@pytest.mark.parametrize("files", ["copy", "hardlink"])
def test_a_member_of_a_container_lies_where_its_container_does(
    dataset: Path, secret: Path, tmp_path: Path, files: str
) -> None:
    for folder in (secret.parent, dataset):
        with tarfile.open(folder / "a.tar", "w") as archive:
            archive.add(secret if folder == secret.parent else dataset / "cat/0.png", "0.png")
    (dataset / "link.tar").symlink_to(secret.parent / "a.tar")
    private = f"../{secret.parent.name}/a.tar!/0.png"
    cells = ["a.tar!/0.png", "a.tar!/../0.png", "cat/1.png", "link.tar!/0.png", private]
    pd.DataFrame({"image": cells, "label": "a"}).to_csv(dataset / "m.csv", index=False)
    reader = ", reader: manifest, roles: {media: image}"
    rules = "policy: {max_drop: 1, rules: {'files.*': keep}}\n"
    run(dataset / "m.csv", tmp_path / "out", section=f"{reader}, outside: allow")
    result = run(dataset / "m.csv", tmp_path / "new", rules, files, reader)
    again = run(dataset / "m.csv", tmp_path / "out", rules, files, reader, force=True)
    for one, out in ((result, tmp_path / "new"), (again, tmp_path / "out")):
        found = one.findings.set_index("id")["code"].to_dict()
        assert found == {
            "a.tar!/../0.png": "files.unreadable",
            "link.tar!/0.png": "files.outside",
            private: "files.outside",
        }
        data = [path.read_bytes() for path in written((out / "curated").resolve())]
        assert (dataset / "cat/0.png").read_bytes() in data
        assert secret.read_bytes() not in data


def test_media_in_a_folder_beside_the_manifest_are_refused_with_what_to_do(
    dataset: Path, tmp_path: Path
) -> None:
    (tmp_path / "tables").mkdir()
    rows = [f"../data/cat/{n}.png" for n in range(3)]
    pd.DataFrame({"image": rows, "label": "a"}).to_csv(tmp_path / "tables/m.csv", index=False)
    with pytest.raises(
        DatasetError, match=r"all 3 media lie outside .*tables .*`dataset: \{outside: allow\}`"
    ):
        Pipeline.proposed(tmp_path / "tables/m.csv")
    config = Pipeline.proposed(tmp_path / "tables/m.csv", outside=True).config
    assert config.outside
    result = run(tmp_path / "tables/m.csv", tmp_path / "out", section=", outside: allow")
    assert result.facts["media.ok"].tolist() == [True] * 3
    assert result.record["run"]["config"]["dataset"]["outside"] == "allow"


def test_whoever_names_paths_in_a_dataframe_means_them_unless_there_is_a_root(
    dataset: Path, secret: Path, tmp_path: Path
) -> None:
    frame = pd.DataFrame({"image": [str(secret), str(dataset / "cat/0.png")], "label": "a"})
    assert dqpipe.check(frame, executor="serial").facts["media.ok"].tolist() == [True, True]
    text = (
        f"dataset: {{reader: {{dataframe: {{root: '{dataset}'}}}}}}\nstages: [files]\noutputs: "
        f"{{path: '{tmp_path}/out'}}\n"
    )
    result = Pipeline.from_text(text).check("serial", source=frame)
    assert result.findings[["id", "code"]].to_numpy().tolist() == [[str(secret), "files.outside"]]


def test_nothing_outside_is_handed_over_or_shown_for_review(dataset: Path, tmp_path: Path) -> None:
    from dqpipe.results.versions import Version
    from dqpipe.review.exchange.queue import Seen
    from dqpipe.review.sample_view import SampleView

    run(dataset, tmp_path / "out", RULES)
    version = Version.open(tmp_path / "out")
    assert not {item.id for item in Seen(version).items(())} & set(OUT)
    sight = SampleView(version, ())
    rows = {sample: row for row, sample in enumerate(sight.ids)}
    assert not any(sight.has_picture(rows[sample]) for sample in OUT)


def special(folder: Path) -> dict[str, Path]:
    os.mkfifo(folder / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(folder / "socket.png"))
    return {
        "pipe": folder / "pipe.png",
        "socket": folder / "socket.png",
        "device": Path("/dev/zero"),
        "folder": folder,
        "proc": Path("/proc/self/environ"),
        "sys": Path("/sys/kernel/notes"),
    }


@pytest.mark.parametrize("within", [None, ("/",)], ids=["anywhere", "below the root of all"])
def test_special_files_are_never_opened(
    tmp_path: Path, within: tuple[str, ...] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the whole path may be too long for a socket
    for path in special(tmp_path).values():
        if path.exists():
            with pytest.raises(MediaError, match=r"^not a (regular )?file"):
                read_bytes(str(path), within)


def swapping(
    path: Path, one: Callable[[], None], other: Callable[[], None], stop: threading.Event
) -> None:
    while not stop.is_set():
        one()
        other()


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_link_that_is_put_in_place_between_check_and_opening_leads_nowhere(
    tmp_path: Path, secret: Path, what: str
) -> None:
    root = tmp_path / "data"
    (root / "cat").mkdir(parents=True)
    (root / "cat" / "id.png").write_bytes(b"harmless")
    at = root / "cat" / "id.png" if what == "file" else root / "cat"
    harmless, link = tmp_path / "harmless", tmp_path / "link"
    os.rename(at, harmless)  # noqa: PTH104
    link.symlink_to(secret if what == "file" else secret.parent)
    stop = threading.Event()

    def swap(name: Path) -> None:
        os.rename(name, at)  # noqa: PTH104
        os.rename(at, name)  # noqa: PTH104

    attacker = threading.Thread(
        target=swapping, args=(at, lambda: swap(harmless), lambda: swap(link), stop)
    )
    attacker.start()
    seen = set()
    try:
        for _ in range(3000):
            try:
                handle = checked_files.opened(str(root / "cat" / "id.png"), (str(root),))
            except (OSError, MediaError) as error:
                seen.add(type(error))
                continue
            with os.fdopen(handle, "rb") as file:
                seen.add(file.read())
    finally:
        stop.set()
        attacker.join()
    assert secret.read_bytes() not in seen
    assert len(seen) > 1


@pytest.mark.parametrize(
    ("url", "holds"),
    [
        ("s3://b/set/a.png", True),
        ("s3://b/set/../x.png", False),
        ("s3://b/settle/a.png", False),
        ("s3://c/set/a.png", False),
        ("s3://b/set", False),
    ],
)
def test_urls_stay_below_their_root(url: str, holds: bool) -> None:
    assert Inside(("s3://b/set",)).holds(url) is holds


def test_an_error_of_a_file_outside_pickles_and_is_bounded(tmp_path: Path, secret: Path) -> None:
    import pickle

    with pytest.raises(OutsideError) as caught:
        read_bytes(f"{tmp_path}/data/" + "../" * 50 + str(secret)[1:], (str(tmp_path / "data"),))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert len(str(caught.value)) < 400
