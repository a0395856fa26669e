"""What init changes in the files of deploy/, and that it leaves nothing of the example in them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from efss_transfer.cli.operator import deploy_files
from efss_transfer.cli.operator.answers import Address, SiteAnswers, StorageAnswers

STORAGE = StorageAnswers("cloud", "webdav", {}, {"pass": "hush", "bearer_token": ""})


@pytest.fixture
def answers() -> SiteAnswers:
    return SiteAnswers(
        "Site 100% \\x",
        Address("data.uni.example", 8443),
        storages=(STORAGE,),
        concurrent=3,
        seconds=600,
        certificate=Path("/etc/tls/full.pem"),
        certificate_key=Path("/etc/tls/key.pem"),
    )


def test_service_runs_this_environment_with_the_sites_files(answers: SiteAnswers) -> None:
    unit = deploy_files.service(answers, Path("/srv/site"))
    assert f"ExecStart={sys.prefix}/bin/functions-framework --source=/" in unit
    [source] = re.findall(r"--source=(\S+)", unit)
    assert Path(source).is_file()
    assert re.findall(r"(?m)^LoadCredential=(.*)$", unit) == [
        "site.json:/srv/site/site.json",
        "cloud.pass:/srv/site/credentials/cloud.pass",
        "cloud.bearer_token:/srv/site/credentials/cloud.bearer_token",
    ]
    assert "EnvironmentFile=-/srv/site/environment" in unit
    assert "THREADS=11" in unit
    assert "Description=Site 100%% /x: copies" in unit
    assert "/etc/efss-transfer" not in unit
    assert "hush" not in unit


def test_nginx_has_the_sites_address_and_times(answers: SiteAnswers) -> None:
    text = deploy_files.nginx(answers)
    assert "server_name data.uni.example;" in text
    assert re.findall(r"(?m)^    listen (\d+) ssl", text) == ["8443", "8443"]
    assert "ssl_certificate     /etc/tls/full.pem;" in text
    assert "ssl_certificate_key /etc/tls/key.pem;" in text
    assert "proxy_read_timeout 660s;" in text
    assert "443 " not in text.replace("8443 ", "")
    assert "example.org;" not in text


def test_nginx_listens_to_ipv6_only_where_there_is_any(
    answers: SiteAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy_files, "_has_ipv6", lambda: False)
    assert re.findall(r"(?m)^ *listen \[::\]", deploy_files.nginx(answers)) == []
    monkeypatch.setattr(deploy_files, "_has_ipv6", lambda: True)
    assert len(re.findall(r"(?m)^ *listen \[::\]:8443", deploy_files.nginx(answers))) == 2


def test_socket_belongs_to_the_group_of_nginx(
    answers: SiteAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy_files, "_nginx_group", lambda: "nginx")
    assert "SocketGroup=nginx\n" in deploy_files.listening_socket(answers)
