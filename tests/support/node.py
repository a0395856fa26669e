"""Node, and the packages of npm that tests/npm/package-lock.json names."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from support.storages import ROOT

NPM = ROOT / "tests" / "npm"


@cache
def packages() -> Path:
    """The folder of the packages, which `scripts/npm` fills if that is not done yet."""
    found = subprocess.run(
        [ROOT / "scripts" / "npm"], stdout=subprocess.PIPE, text=True, check=True
    )
    return Path(found.stdout.strip())


def node(*arguments: str | Path, given: Any = None, at: Path = NPM) -> str:
    """What a program says; it must end well. `given` goes in as JSON."""
    packages()
    ended = subprocess.run(
        [ROOT / ".venv" / "bin" / "node", *arguments],
        input=json.dumps(given),
        cwd=at,
        text=True,
        capture_output=True,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def compiles(folder: Path, *files: str) -> None:
    """Hold TypeScript in that folder to `tsc --strict`, and write JavaScript beside it."""
    (folder / "package.json").write_text('{"type": "module"}')
    here = folder / "node_modules"
    if not here.exists():
        here.symlink_to(packages())
    options = {
        "strict": True,
        "exactOptionalPropertyTypes": True,
        "noUnusedLocals": True,
        "target": "es2022",
        "module": "nodenext",
        "lib": ["es2023", "dom", "dom.iterable"],
        # What stands among the packages and has types is none of the program's.
        "types": [],
    }
    config = {"compilerOptions": options, "files": files}
    (folder / "tsconfig.json").write_text(json.dumps(config), "utf-8")
    node(packages() / "typescript" / "bin" / "tsc", at=folder)
