"""The files that `efss-transfer init` writes pass their own checks."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from support.cli_user import User
from support.nginx import NAME, gateway, tool


def test_files_of_init_pass_their_own_checks(tmp_path: Path) -> None:
    user = User.at(tmp_path / "home", CLOUD_PASSWORD="hush")
    storage = {
        "type": "webdav",
        "parameters": {
            "url": "https://cloud.example.org/remote.php/webdav",
            "user": "alice",
            "pass": {"env": "CLOUD_PASSWORD"},
        },
    }
    made = user.run(
        *(
            "init",
            "site",
            "--yes",
            "--name",
            "A site; of 100% \\n {",
            "--address",
            f"https://{NAME}",
        ),
        *("--storage", f"cloud={json.dumps(storage)}"),
    )
    assert made.returncode == 0, made.stderr
    site = user.home / "site"
    words = ("--require-secrets", "--credentials", site / "credentials", site / "site.json")
    checked = user.run("site", "check", *words)
    assert (checked.returncode, checked.stderr) == (0, "")

    verified = subprocess.run(
        [
            *(tool("systemd-analyze"), "verify", "--man=no"),
            *(site / "efss-transfer.service", site / "efss-transfer.socket"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    # Of what all units need, some is missing where there is no systemd.
    assert not [line for line in verified.stderr.splitlines() if "efss-transfer" in line]

    # It runs `nginx -t` with the file before it starts one.
    with gateway(tmp_path / "n", tmp_path / "none.sock", file=site / "nginx.conf") as front:
        answer = front.ask("GET", "/healthz")
    assert (answer.status, answer.json()["code"]) == (503, "busy")
    assert [it.name for it in user.home.iterdir()] == ["site"]
