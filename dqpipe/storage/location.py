"""Locations: a local folder or a prefix on any store of fsspec, with the same few operations.

    place("out/store")        place("s3://bucket/prefix")        place("gs://…"),
                                                                 place("memory://…"), …

A file is written whole or not at all, under a relative name with "/" between. Credentials come from
the environment (or what the store's own library reads), never from a URL.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dqpipe.errors import OutputError
from dqpipe.storage import no_links
from dqpipe.storage.whole_files import spare_beside

URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")
"""A scheme of two letters or more: `C://` is a drive."""
EXTRAS = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
}
"""Scheme → the package that knows it."""
S3 = frozenset({"s3", "s3a"})


@dataclass(frozen=True)
class Entry:
    """One file of a listing: size in bytes, a tag that changes with the content (such as an ETag),
    and time of change in ns.
    """

    size: int
    tag: str
    changed: int | None = None


def is_url(text: object) -> bool:
    """Whether this is a URL rather than a local path."""
    return isinstance(text, str) and bool(URL.match(text)) and not text.startswith("file://")


def url_below(root: str, name: str) -> str:
    """The URL of a name that starts from a root.

    `..` climbs no higher than the bucket, and a URL elsewhere is no URL but a name.

    An absolute path is one of this machine: what this program made itself (readers refuse those
    that a dataset names).
    """
    top = "/".join(root.split("/", 3)[:3])
    if name.startswith(("/", top + "/")):
        return name
    whole = f"{root}/{name}"
    if ".." not in name.split("/"):
        return whole
    inside = posixpath.normpath(whole[len(top) + 1 :])
    return whole if inside.startswith("..") else f"{top}/{inside}"


def place(root: str | Path | Place) -> Place:
    """The place of a folder or an fsspec URL, or the one given.

    Raises OutputError: a URL with credentials, an unknown scheme.
    """
    if isinstance(root, Place):
        return root
    if not is_url(root):
        path = Path(str(root).removeprefix("file://")).absolute()
        return Place(str(path), path)
    url = str(root).rstrip("/")
    if "@" in urlsplit(url).netloc:
        raise OutputError(f"{shown(url)} holds credentials: give them in the environment")
    made = Place(url, None)
    _ = made.remote
    return made


def shown(url: str) -> str:
    """A URL as it may be printed: without credentials."""
    return re.sub(r"(?<=://)[^/@]*@", "", url)


def filesystem(url: str) -> Any:  # noqa: ANN401 (fsspec has no types)
    """The fsspec filesystem of a URL; one per endpoint in a process. Raises OutputError."""
    import fsspec

    scheme = url.partition("://")[0]
    options: dict[str, Any] = {"use_listings_cache": False}
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if scheme in S3 and endpoint:
        options["endpoint_url"] = endpoint  # told, so that another endpoint is another filesystem
    try:
        return fsspec.filesystem(scheme, **options)
    except ImportError:
        package = EXTRAS.get(scheme)
        raise OutputError(
            f"{url} needs the package {package or f'that knows {scheme}://'}"
            + (f" (pip install {package})" if package else "")
        ) from None
    except ValueError:
        raise OutputError(f"{url}: fsspec knows no {scheme}://") from None


@contextlib.contextmanager
def named(doing: str, where: str) -> Iterator[None]:
    """Name the location in errors raised inside. Raises FileNotFoundError, OutputError."""
    try:
        yield
    except (FileNotFoundError, OutputError):
        raise
    except OSError as error:
        raise OutputError(f"cannot {doing} {shown(where)}: {error.strerror or error}") from error
    except Exception as error:  # each store's library has errors of its own
        raise OutputError(
            f"cannot {doing} {shown(where)}: {type(error).__name__}: {error}"[:500]
        ) from error


@dataclass(frozen=True)
class Place:
    """A folder on a disk or an object store; cheap to pickle.

    Names are relative, with "/" between, and never lead out of it.
    """

    url: str
    local: Path | None

    @property
    def remote(self) -> Any:  # noqa: ANN401
        """The fsspec filesystem."""
        return filesystem(self.url)

    def at(self, name: str) -> str:
        """The full path or URL of a name. Raises OutputError if it would lead out."""
        parts = name.split("/") if name else []
        if any(part in {"", ".", ".."} for part in parts) or "\0" in name:
            raise OutputError(f"{name!r} is no name of a file below {shown(self.url)}")
        return "/".join((self.url, *parts))

    def below(self, name: str) -> Place:
        """The place of a folder in this one."""
        return Place(self.at(name), None if self.local is None else self.local / name)

    def read(self, name: str) -> bytes:
        """The bytes of a file. Raises FileNotFoundError, OutputError."""
        path = self.at(name)
        with named("read", path):
            return Path(path).read_bytes() if self.local else self.remote.cat_file(path)

    def write(self, name: str, data: bytes) -> None:
        """Make or replace a file, whole or not at all; on the disk when this returns.

        Raises OutputError.
        """
        path = self.at(name)
        with named("write", path), _making(path):
            if self.local is None:
                self.remote.pipe_file(path, data)
                return
            with _spare(Path(path), data) as spare:
                spare.replace(path)
                _settle(Path(path).parent)

    def write_all(self, files: Mapping[str, bytes]) -> None:
        """Make or replace files, each whole or not at all, many at a time elsewhere.

        Raises OutputError.
        """
        if self.local:
            for name, data in files.items():
                self.write(name, data)
        elif files:
            paths = {self.at(name): data for name, data in files.items()}
            with named("write", next(iter(paths))), _making(self.url):
                self.remote.pipe(paths)

    def create(self, name: str, data: bytes) -> bool:
        """Create a file unless it exists, atomically; returns whether it was created.

        Raises OutputError.
        """
        path = self.at(name)
        with named("write", path), _making(path):
            if self.local is None:
                return self._create(path, data)
            with _spare(Path(path), data) as spare:
                try:
                    os.link(spare, path)
                except FileExistsError:
                    return False
                except OSError:  # a file system without links
                    return _create_plainly(path, data)
                _settle(Path(path).parent)
                return True

    def _create(self, path: str, data: bytes) -> bool:
        try:
            self.remote.pipe_file(path, data, mode="create")
        except FileExistsError:
            return False
        except OSError:
            if self.remote.exists(path):
                return False
            raise
        return True

    def names(self, under: str = "") -> list[str]:
        """Every file below a folder of this place, by its name here, sorted.

        None if there is no such folder.
        """
        return sorted(self.entries(under))

    def entries(self, under: str = "") -> dict[str, Entry]:
        """The same with the size and the tag of each. Half-written files are left out."""
        top = self.at(under)
        if self.local:
            return dict(_walked(self.local, Path(top)))
        with named("list", top):
            stem = self.remote._strip_protocol(self.url).rstrip("/") + "/"  # noqa: SLF001 (how fsspec's listings name things)
            folder = self.remote._strip_protocol(top).rstrip("/") + "/"  # noqa: SLF001
            try:
                found = self.remote.find(top, detail=True)
            except FileNotFoundError:
                return {}
            return {
                path[len(stem) :]: entry_of(info)
                for path, info in found.items()
                if path.startswith(folder) and not path.endswith("/")
            }

    def listed(self, under: str = "") -> list[str]:
        """The names of what lies directly in a folder of this place, hidden or not, sorted.

        None if there is no such folder. Raises OutputError.
        """
        top = self.at(under)
        with named("list", top):
            try:
                if self.local:
                    return sorted(path.name for path in Path(top).iterdir())
                return sorted(
                    {
                        path.rstrip("/").rpartition("/")[2]
                        for path in self.remote.ls(top, detail=False)
                    }
                    - {""}
                )
            except (FileNotFoundError, NotADirectoryError):
                return []

    def exists(self, name: str) -> bool:
        """Whether a file (or, on a local disk, a folder) exists.

        Raises OutputError if that cannot be determined.
        """
        path = self.at(name)
        with named("look at", path):
            return Path(path).exists() if self.local else bool(self.remote.exists(path))

    def remove(self, *names: str) -> None:
        """Remove files, through no link below this place; those that are not there are no error."""
        paths = [self.at(name) for name in names]
        with named("remove", paths[0] if paths else self.url):
            if self.local:
                for name in names:
                    no_links.remove_file(self.local, name)
                return
            many = (
                self.url.partition("://")[0] in S3
            )  # a thousand in one request; fsspec takes some names for patterns
            plain = [path for path in paths if many and not set("*?[") & set(path)]
            if plain:
                self.remote.rm(plain)
            for path in sorted({*paths} - {*plain}):
                with contextlib.suppress(FileNotFoundError):
                    self.remote.rm_file(path)

    def upload(self, folder: Path, name: str) -> list[str]:
        """Copy all files of a local folder below a name, many at a time elsewhere.

        The names that they have now.
        """
        files = {
            f"{name}/{file}" if name else file: folder / file for file, _ in _walked(folder, folder)
        }
        self.put(files)
        return sorted(files)

    def put(self, files: Mapping[str, Path]) -> None:
        """Copy local files to these names, many at a time elsewhere."""
        if self.local:
            for name, path in files.items():
                self.write(name, path.read_bytes())
        elif files:
            with named("write", self.url):
                self.remote.put(
                    [str(path) for path in files.values()], [self.at(name) for name in files]
                )

    def get(self, files: Mapping[str, Path]) -> None:
        """Copy files from these names to local paths, many at a time.

        A path is written whole or not at all. Raises FileNotFoundError.
        """
        with contextlib.ExitStack() as stack, named("read", self.url):
            for path in files.values():
                path.parent.mkdir(parents=True, exist_ok=True)
            spares = [stack.enter_context(spare_beside(path)) for path in files.values()]
            self._get([self.at(name) for name in files], spares)
            for spare, path in zip(spares, files.values(), strict=True):
                spare.replace(path)

    def _get(self, sources: Sequence[str], targets: Sequence[Path]) -> None:
        if self.local:
            for source, target in zip(sources, targets, strict=True):
                shutil.copyfile(source, target)
        elif sources:
            self.remote.get(list(sources), [str(target) for target in targets])

    def fetch(self, name: str) -> Path:
        """A local path of the file: itself, or an up-to-date copy.

        Raises FileNotFoundError, OutputError.
        """
        path = self.at(name)
        if self.local:
            return Path(path)
        with named("read", path):
            info = self.remote.info(path)
        copy = (
            mirror(self.url)
            / "copies"
            / _digest(f"{name} {info.get('size')} {tag_of(info)}")
            / Path(name).name
        )
        if not copy.exists():
            self.get({name: copy})
        return copy


def mirror(url: str) -> Path:
    """The folder for local copies of a place's files, this user's own. Raises OutputError."""
    name = _digest(
        url + "".join(os.environ.get(f"AWS_ENDPOINT_URL{kind}", "") for kind in ("_S3", ""))
    )
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "dqpipe"
    spare = (
        Path(tempfile.gettempdir()) / f"dqpipe-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    )
    for folder in (cache, spare):  # a worker may have no home
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = folder.lstat()
            if (
                os.access(folder, os.W_OK)
                and stat.S_ISDIR(status.st_mode)
                and (not hasattr(os, "getuid") or status.st_uid == os.getuid())
            ):
                return folder / "mirrors" / name
        except (OSError, RuntimeError):
            continue
    raise OutputError(
        f"no folder for copies of {shown(url)}: neither {cache} nor {spare} is a folder of this "
        f"user's own that can be written"
    )


def _create_plainly(path: str, data: bytes) -> bool:
    """Make a file if nothing is there; after a crash it may be cut short."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return False
    with open(handle, "wb") as file:  # noqa: PTH123 (open already)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return True


def entry_of(info: Mapping[str, Any]) -> Entry:
    """One file as fsspec describes it."""
    times = (
        info.get(key) for key in ("LastModified", "last_modified", "mtime", "updated", "created")
    )
    changed = next((time for time in times if time), None)
    if isinstance(changed, str):
        with contextlib.suppress(ValueError):
            changed = datetime.fromisoformat(changed)
    seconds = (
        changed.timestamp()
        if isinstance(changed, datetime)
        else changed
        if isinstance(changed, (int, float))
        else None
    )
    return Entry(
        int(info.get("size") or 0), tag_of(info), None if seconds is None else int(seconds * 1e9)
    )


def tag_of(info: Mapping[str, Any]) -> str:
    """The tag of a file that changes with its content: its ETag, or what the store has instead."""
    for key in (
        "ETag",
        "etag",
        "md5Hash",
        "md5",
        "generation",
        "LastModified",
        "last_modified",
        "mtime",
        "created",
    ):
        if info.get(key):
            return str(info[key]).strip('"')
    return ""


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _walked(root: Path, top: Path) -> Iterator[tuple[str, Entry]]:
    """Every file below a local folder by its name below `root`.

    What is half written begins with a dot and is left out.
    """
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if not name.startswith(".")]
        here = Path(folder)
        for name in files:
            if name.startswith("."):
                continue
            with contextlib.suppress(FileNotFoundError):
                found = (here / name).stat()
                yield (
                    (here / name).relative_to(root).as_posix(),
                    Entry(found.st_size, f"{found.st_mtime_ns}-{found.st_ino}", found.st_mtime_ns),
                )


@contextlib.contextmanager
def _making(path: str) -> Iterator[None]:
    """Turn FileNotFoundError of a missing parent folder into OutputError."""
    try:
        yield
    except FileNotFoundError as error:
        raise OutputError(f"cannot write {shown(path)}: {error.strerror or error}") from None


@contextlib.contextmanager
def _spare(path: Path, data: bytes) -> Iterator[Path]:
    """The bytes in a file beside the path, on the disk; gone at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with spare_beside(path) as spare:
        with spare.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield spare


def synced(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk. Raises OSError."""
    if os.name != "posix":  # folders cannot be opened there
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _settle(folder: Path) -> None:
    """A renamed file is found after a power cut only if its folder was written too."""
    with contextlib.suppress(OSError):  # some file systems cannot
        synced(folder)
