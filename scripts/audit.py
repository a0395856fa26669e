"""Ask for known vulnerabilities of every locked package: `pip-audit`, where the network allows.

Says what could not be asked, which is no success, and no failure of the code either.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCK = Path(__file__).with_name("requirements.lock")
PIP_AUDIT = Path(sys.executable).with_name("pip-audit")


def verdict(answer: dict[str, Any]) -> tuple[int, str]:
    """The exit code and what to print, by what pip-audit found."""
    packages = answer["dependencies"]
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    vulnerable = [
        f"  {package['name']} {package['version']}: {found['id']}, mended in "
        f"{', '.join(found['fix_versions']) or 'no version yet'}"
        for package in packages
        for found in package.get("vulns", [])
    ]
    if vulnerable:
        return 1, "\n".join(["audit: known vulnerabilities", *vulnerable])
    asked = len(packages) - len(skipped)
    if not asked:
        return 0, f"audit: NOT DONE: the index tells nothing of any of {len(packages)} packages"
    text = f"audit: {asked} packages, no known vulnerability"
    return 0, text + (f"; not asked: {', '.join(sorted(skipped))}" if skipped else "")


def main() -> int:
    """Run pip-audit; 1 if a package has a known vulnerability."""
    try:
        run = subprocess.run(
            [
                PIP_AUDIT,
                "--disable-pip",
                "--require-hashes",
                f"--requirement={LOCK}",
                "--format=json",
                "--progress-spinner=off",
                "--timeout=10",
            ],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        answer = json.loads(run.stdout)
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        print("audit: NOT DONE: pip-audit could not ask the network")
        return 0
    code, text = verdict(answer)
    print(text)
    return code


if __name__ == "__main__":
    sys.exit(main())
