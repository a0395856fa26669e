"""Build the files of a release into one folder, with their SHA-256 sums.

These are the wheel, the source distribution, the layer and the function for AWS Lambda, and the
build context of deploy/Dockerfile (`docker build -f deploy/Dockerfile - <FILE`). The same source,
built again, gives the same bytes. Options that are not listed here go to scripts/build-layer, which
has --arch and --python.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from efss_transfer import __version__

ROOT: Final = Path(__file__).parents[1]
SUMS: Final = "SHA256SUMS"
CONTEXT: Final = f"efss-transfer-{__version__}-image.tar"
DOCKERFILE: Final = "deploy/Dockerfile"


def packages(folder: Path, *kinds: str) -> None:
    """Build the Python packages: `wheel`, `sdist`, or both.

    Without SOURCE_DATE_EPOCH, hatchling writes a time of its own, which is always the same.
    """
    environment = {name: it for name, it in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    chosen = [word for kind in kinds for word in ("-t", kind)]
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", *chosen, "-d", folder.resolve()],
        cwd=ROOT,
        env=environment,
        check=True,
        capture_output=True,
    )


def context(output: Path) -> None:
    """Pack the build context of the image: the Dockerfile, and all that .dockerignore allows."""
    with tarfile.open(output, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted({DOCKERFILE, ".dockerignore", *_allowed()}):
            data = (ROOT / name).read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(data))


def _allowed() -> Iterator[str]:
    """The files that .dockerignore allows. It refuses all, then allows names, then refuses some."""
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    allowed = [line.removeprefix("!") for line in patterns if line.startswith("!")]
    refused = [line.removeprefix("**/") for line in patterns if line.startswith("**/")]
    if sorted(["*", *(f"!{it}" for it in allowed), *(f"**/{it}" for it in refused)]) != sorted(
        patterns
    ):
        raise SystemExit("release: .dockerignore has a line that this script cannot read")
    for name in allowed:
        path = ROOT / name
        for file in [path] if path.is_file() else path.rglob("*"):
            inside = file.relative_to(ROOT)
            if file.is_file() and not any(
                fnmatch(part, pattern) for part in inside.parts for pattern in refused
            ):
                yield inside.as_posix()


def layer(output: Path, options: list[str]) -> None:
    """Build the layer, and the function's zip beside it. Raises SystemExit if that fails."""
    command: list[str | Path] = [
        sys.executable,
        ROOT / "scripts" / "build_layer.py",
        "-o",
        output,
        *options,
    ]
    if code := subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode:
        raise SystemExit(code)


def release(folder: Path, options: list[str]) -> list[Path]:
    """Build all files into the folder, and write their sums; those of an earlier release stay."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".release-") as name:
        made = Path(name)
        layer(made / "layer.zip", options)
        packages(made, "wheel", "sdist")
        context(made / CONTEXT)
        files = sorted(made.iterdir())
        (made / SUMS).write_text(
            "".join(f"{hashlib.sha256(it.read_bytes()).hexdigest()}  {it.name}\n" for it in files)
        )
        return [it.replace(folder / it.name) for it in [*files, made / SUMS]]


def main() -> int:
    """Build, and print the sums."""
    parser = argparse.ArgumentParser(
        prog="scripts/release",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: scripts/release --arch arm64 --output /tmp/release",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=ROOT / "dist",
        metavar="FOLDER",
        help="where the files go (dist)",
    )
    chosen, options = parser.parse_known_args()

    made = release(chosen.output, options)
    print(made[-1].read_text("utf-8"), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
