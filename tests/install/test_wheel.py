"""The built wheel works in an empty environment, built-in plugins and all."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.install.distributions import pip

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built offline from the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT))
    return next(folder.glob("dqpipe-*.whl"))


def _environment(folder: Path) -> Path:
    venv.create(folder, with_pip=True)
    return folder / "bin" / "python"


def _run(python: Path, *arguments: str, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(python), *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _use(python: Path, images: Path, tmp_path: Path) -> None:
    listed = _run(python, "-m", "dqpipe", "plugins", cwd=tmp_path)
    assert all(
        name in listed
        for name in ("files", "image_quality", "duplicates", "label_noise", "augment", "policy")
    )
    _run(python, "-m", "dqpipe", "init", str(images), cwd=tmp_path)
    told = _run(python, "-m", "dqpipe", "run", "--executor", "serial", cwd=tmp_path)
    assert "curated" in told
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000


def test_offline_beside_the_installed_libraries(wheel: Path, images: Path, tmp_path: Path) -> None:
    python = _environment(tmp_path / "venv")
    done = subprocess.run(
        [str(python), "-m", "pip", "-q", "install", "--no-index", "--no-deps", str(wheel)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # The new environment sees the libraries of this one, but not dqpipe: a .pth file would bring an
    # editable install along.
    site = Path(
        _run(
            python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path
        ).strip()
    )
    (site / "libraries.pth").write_text(
        "\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}) + "\n",
        encoding="utf-8",
    )
    where = _run(
        python,
        "-c",
        "import dqpipe, dqpipe_images; print(dqpipe.__file__, dqpipe_images.__file__)",
        cwd=tmp_path,
    )
    assert all(path.startswith(str(site)) for path in where.split())
    _use(python, images, tmp_path)


def test_with_everything_from_the_index(
    wheel: Path, images: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if not request.config.getoption("--full-install"):
        pytest.skip("downloads everything; `make test-install` runs it")
    python = _environment(tmp_path / "venv")
    subprocess.run([str(python), "-m", "pip", "-q", "install", str(wheel)], check=True)
    _use(python, images, tmp_path)


def test_the_wheel_is_built_from_what_is_here(wheel: Path) -> None:
    import zipfile

    names = zipfile.ZipFile(wheel).namelist()
    sources = [p for folder in ("dqpipe", "plugins") for p in (ROOT / folder).rglob("*.py")]
    packed = {name for name in names if name.endswith(".py")}
    assert packed == {
        p.relative_to(ROOT / "plugins" if p.is_relative_to(ROOT / "plugins") else ROOT).as_posix()
        for p in sources
    }
    assert sys.version_info >= (3, 11)
