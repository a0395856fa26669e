"""Writes the software bill of materials (SBOM) of efss-transfer as CycloneDX JSON.

cyclonedx-py describes the whole environment. This script removes packages that only the tests
need, and adds the rclone binary, which is not a package of its own.
"""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = ROOT / "pyproject.toml"
CYCLONEDX = ROOT / ".venv" / "describing" / "bin" / "cyclonedx-py"


def environment() -> dict[str, Any]:
    """The SBOM of the whole environment, by cyclonedx-py."""
    run = subprocess.run(
        [
            CYCLONEDX,
            "environment",
            sys.executable,
            "--output-reproducible",
            f"--pyproject={PROJECT}",
            "--mc-type=application",
            "--output-format=JSON",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    bom: dict[str, Any] = json.loads(run.stdout)
    return bom


def runtime_packages(
    excluded: frozenset[str] = frozenset(), markers: Mapping[str, str] | None = None
) -> set[str]:
    """The normalized names of all packages that efss-transfer needs at run time.

    cyclonedx-py also counts optional extras that happen to be installed; this does not.
    `excluded` packages are left out, with the packages that only they need. `markers` override
    the environment markers of this machine.
    """
    found: set[str] = set()
    pending = list(tomllib.loads(PROJECT.read_text("utf-8"))["project"]["dependencies"])
    while pending:
        requirement = Requirement(pending.pop())
        name = canonicalize_name(requirement.name)
        if name in excluded:
            continue
        for text in importlib.metadata.requires(name) or ():
            marker = Requirement(text).marker
            extras = requirement.extras or {""}
            if marker is None or any(
                marker.evaluate({**(markers or {}), "extra": extra}) for extra in extras
            ):
                below = Requirement(text)
                if canonicalize_name(below.name) not in found:
                    pending.append(f"{below.name}[{','.join(below.extras)}]")
        found.add(name)
    return found


def without_test_packages(bom: dict[str, Any]) -> dict[str, Any]:
    """The SBOM with only the packages that efss-transfer needs at run time."""
    names = runtime_packages()
    root = bom["metadata"]["component"]["bom-ref"]
    kept = [it for it in bom["components"] if canonicalize_name(it["name"]) in names]
    known = {root, *(it["bom-ref"] for it in kept)}
    return {
        **bom,
        "components": kept,
        "dependencies": [
            {**it, "dependsOn": [other for other in it.get("dependsOn", []) if other in known]}
            for it in bom["dependencies"]
            if it["ref"] in known
        ],
    }


def with_rclone(bom: dict[str, Any]) -> dict[str, Any]:
    """The SBOM with the pinned rclone binaries."""
    pin = json.loads((ROOT / "layer" / "rclone.json").read_text("utf-8"))
    binaries = [
        {
            "type": "application",
            "bom-ref": f"rclone-{machine}",
            "name": "rclone",
            "version": pin["version"],
            "purl": f"pkg:github/rclone/rclone@v{pin['version']}",
            "licenses": [{"license": {"id": "MIT"}}],
            "hashes": [{"alg": "SHA-256", "content": binary["sha256"]}],
            "properties": [{"name": "efss-transfer:machine", "value": machine}],
        }
        for machine, binary in sorted(pin["binaries"].items())
    ]
    return {**bom, "components": bom["components"] + binaries}


def main() -> int:
    """Write the SBOM to the file given as argument, or print it."""
    text = (
        json.dumps(with_rclone(without_test_packages(environment())), indent=2, sort_keys=True)
        + "\n"
    )
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text)
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
