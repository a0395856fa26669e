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


def test_questions_in_a_terminal_show_no_secret(tmp_path: Path) -> None:
    user = User.at(tmp_path / "home")
    url = "https://cloud.example.org/remote.php/dav/files/alice"
    with user.in_terminal("init", "site") as screen:
        for question, answer in (
            ("The site's name [efss-transfer]: ", "A university"),
            ("The gateway's public address: ", NAME),
            ("issuer [portal]: ", ""),
            ("Storage's name: ", "cloud"),
            ("…) [webdav]: ", ""),
            ("url, such as ", url),
            ("vendor, such as ", "nextcloud"),
            ("user, such as ", "alice"),
            ("fill its file in later): ", "canary-password"),
            # The folder, the use, no more storages, hosts, and both limits: the defaults.
            ("callers cannot leave", "\n" * 5),
        ):
            screen.wait_for(question)
            screen.press(f"{answer}\n".encode())
        assert screen.end() == 0, screen.text
    assert "canary" not in screen.raw
    assert "Next:\n1. Put the certificate of transfer.example.org into" in screen.text
    token = (user.home / "site/tokens/portal").read_text().strip()
    assert token not in screen.raw
    kept = user.home / "site/credentials/cloud.pass"
    assert kept.read_text() == "canary-password\n"
    storages = json.loads((user.home / "site/site.json").read_text())["storages"]
    assert storages["cloud"]["parameters"]["url"] == url
