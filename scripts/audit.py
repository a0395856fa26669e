"""Checks every locked package for known vulnerabilities with pip-audit.

Without network access it reports `NOT DONE` and exits with 0: the code has not failed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCK = Path(__file__).with_name("requirements.lock")
PIP_AUDIT = Path(sys.executable).with_name("pip-audit")


def verdict(report: dict[str, Any]) -> tuple[int, str]:
    """The exit code and the text to print for a report of pip-audit."""
    packages = report["dependencies"]
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    vulnerable = [
        f"  {package['name']} {package['version']}: {found['id']}, fixed in "
        f"{', '.join(found['fix_versions']) or 'no version yet'}"
        for package in packages
        for found in package.get("vulns", [])
    ]
    if vulnerable:
        return 1, "\n".join(["audit: known vulnerabilities", *vulnerable])
    checked = len(packages) - len(skipped)
    if not checked:
        return 0, f"audit: NOT DONE: the index has no data about {_counted(len(packages))}"
    text = f"audit: {_counted(checked)}, no known vulnerability"
    return 0, text + (f"; not checked: {', '.join(sorted(skipped))}" if skipped else "")


def _counted(count: int) -> str:
    return f"{count} package" if count == 1 else f"{count} packages"


def main() -> int:
    """Run pip-audit; returns 1 if a package has a known vulnerability."""
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
        report = json.loads(run.stdout)
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        print("audit: NOT DONE: pip-audit could not reach the index")
        return 0
    code, text = verdict(report)
    print(text)
    return code


if __name__ == "__main__":
    sys.exit(main())
