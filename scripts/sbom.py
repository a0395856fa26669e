"""Write what efss-transfer is made of, as CycloneDX JSON, to a file that is named.

cyclonedx-py describes the whole environment; what only the tests need is taken out, and the
rclone binary, which no package manager knows by its own name, is put in.
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


def described() -> dict[str, Any]:
    """The whole environment, as cyclonedx-py sees it."""
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


def needed(
    left_out: frozenset[str] = frozenset(), elsewhere: Mapping[str, str] | None = None
) -> set[str]:
    """The packages that efss-transfer needs to run, by their normal names: no extras that
    nobody asked for, which cyclonedx-py counts if they happen to be installed.

    `left_out` are not looked at, nor what they alone need. `elsewhere` has the markers of
    where it is to run, as far as that is not here.
    """
    found: set[str] = set()
    waiting = list(tomllib.loads(PROJECT.read_text("utf-8"))["project"]["dependencies"])
    while waiting:
        wanted = Requirement(waiting.pop())
        name = canonicalize_name(wanted.name)
        if name in left_out:
            continue
        for text in importlib.metadata.requires(name) or ():
            marker = Requirement(text).marker
            extras = wanted.extras or {""}
            if marker is None or any(
                marker.evaluate({**(elsewhere or {}), "extra": extra}) for extra in extras
            ):
                below = Requirement(text)
                if canonicalize_name(below.name) not in found:
                    waiting.append(f"{below.name}[{','.join(below.extras)}]")
        found.add(name)
    return found


def pruned(bom: dict[str, Any]) -> dict[str, Any]:
    """The same with only what efss-transfer needs to run."""
    names = needed()
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
    """The same with the rclone binaries that are pinned."""
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
    """Write it to the file that is named, or print it."""
    text = json.dumps(with_rclone(pruned(described())), indent=2, sort_keys=True) + "\n"
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text)
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
