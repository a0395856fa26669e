"""The files of `deploy/` for nginx and systemd, with what a site changes in them.

In an installed package they are package data; in a checkout they are beside functions/.
"""

from __future__ import annotations

import grp
import re
import socket
import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Final

from efss_transfer.cli.operator.answers import SiteAnswers
from efss_transfer.config.settings import SPARE_THREADS

SERVICE: Final = "efss-transfer.service"
SOCKET: Final = "efss-transfer.socket"
NGINX: Final = "nginx.conf"

_SPARE: Final = max(SPARE_THREADS, 8)
# Longer than the function's longest answer: the comment in nginx.conf says of what it consists.
_MORE_SECONDS: Final = 60
_FUNCTION: Final = Path(__file__).parents[2] / "runtimes" / "flask" / "function.py"


def service(answers: SiteAnswers, folder: Path) -> str:
    """The unit of the service, which runs the environment of this very command."""
    credentials = [
        f"LoadCredential={name}:{folder}/credentials/{name}\n"
        for it in answers.storages
        for name in map(it.credential, it.secrets)
    ]
    program = Path(sys.prefix) / "bin" / "functions-framework"
    return _heading(answers) + _replaced(
        SERVICE,
        {
            "Description=efss-transfer: copies": f"Description={_unit_text(answers.name)}: copies",
            "ExecStart=/opt/efss-transfer/bin/functions-framework "
            "--source=/opt/efss-transfer/main.py": f"ExecStart={program} --source={_FUNCTION}",
            "LoadCredential=site.json:/etc/efss-transfer/": f"LoadCredential=site.json:{folder}/",
            "LoadCredential=archive:/etc/efss-transfer/credentials/archive\n": "".join(credentials),
            "EnvironmentFile=-/etc/efss-transfer/": f"EnvironmentFile=-{folder}/",
            "(site.json: 16), plus 8 threads": (
                f"(site.json: {answers.concurrent}), plus {_SPARE} threads"
            ),
            "THREADS=24": f"THREADS={answers.concurrent + _SPARE}",
        },
    )


def listening_socket(answers: SiteAnswers) -> str:
    """The unit of the socket between nginx and the service."""
    changes = {"SocketGroup=www-data": f"SocketGroup={_nginx_group()}"}
    return _heading(answers) + _replaced(SOCKET, changes)


def nginx(answers: SiteAnswers) -> str:
    """nginx's part: TLS, limits, and which paths are passed on."""
    host, port = answers.address.host, answers.address.port
    text = _replaced(
        NGINX,
        {
            "transfer.example.org;": f"{host};",
            "/etc/ssl/efss-transfer/fullchain.pem;": f"{answers.certificate};",
            "/etc/ssl/efss-transfer/privkey.pem;": f"{answers.certificate_key};",
            "limit_conn efss_open 16;": f"limit_conn efss_open {max(answers.concurrent, 4)};",
            "7200 in site.example.json": f"{answers.seconds} in site.json",
            "proxy_read_timeout 7260s;": f"proxy_read_timeout {answers.seconds + _MORE_SECONDS}s;",
        },
    )
    text = re.sub(r"(listen (?:\[::\]:)?)443 ", rf"\g<1>{port} ", text)
    if not _has_ipv6():
        text = re.sub(r"(?m)^    (listen \[::\])", r"    # This host has no IPv6: \1", text)
    return _heading(answers) + text


def _replaced(name: str, changes: Mapping[str, str]) -> str:
    text = _original(name)
    for old, new in changes.items():
        if old not in text:
            raise AssertionError(f"{name} has no {old!r}")
        text = text.replace(old, new)
    return text


def _original(name: str) -> str:
    packaged = files("efss_transfer") / "deploy" / name
    if packaged.is_file():
        return packaged.read_text("utf-8")
    return (Path(__file__).parents[4] / "deploy" / name).read_text("utf-8")


def _heading(answers: SiteAnswers) -> str:
    return f"# {answers.name}: made by `efss-transfer init`; yours to change.\n#\n"


def _unit_text(text: str) -> str:
    """A text in a unit, where % begins a specifier and a backslash an escape."""
    return text.replace("%", "%%").replace("\\", "/")


def _nginx_group() -> str:
    known = {entry.gr_name for entry in grp.getgrall()}
    return "nginx" if "nginx" in known and "www-data" not in known else "www-data"


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False
