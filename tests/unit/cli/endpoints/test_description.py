"""The list of endpoints, which shows no secret."""

from __future__ import annotations

import json
from typing import Any

from efss_transfer.cli.endpoints.description import described, rows

SECRET = "canary-of-a-password"
ENTRIES: dict[str, dict[str, Any]] = {
    "cloud": {
        "type": "webdav",
        "path": "Measurements",
        "parameters": {"url": "https://x", "vendor": "nextcloud", "pass": SECRET},
    },
    "box": {
        "type": "sftp",
        "parameters": {"host": "h", "port": 2222, "pass": {"command": "pass show box"}},
    },
    "azure": {"type": "azureblob", "parameters": {"sas_url": f"https://x/?{SECRET}"}},
    "site": {"storage": "archive", "parameters": {"user": "alice", "pass": {"env": "P"}}},
    "open": {"type": "doi", "parameters": {"doi": "10.5281/zenodo.1"}},
}


def test_description_has_addresses_and_sources_of_secrets_but_no_secret() -> None:
    found = [described(name, entry) for name, entry in ENTRIES.items()]
    assert SECRET not in json.dumps(found)
    assert found[0]["secrets"] == [{"parameter": "pass", "from": "endpoints file"}]
    lines = [line.split("  ") for line in rows(found)]
    table = [[cell.strip() for cell in line if cell] for line in lines]
    assert table == [
        ["NAME", "TYPE", "ADDRESS", "SECRETS"],
        ["cloud", "webdav (nextcloud)", "https://x Measurements", "pass: in the file"],
        ["box", "sftp", "h:2222", "pass: command pass show box"],
        ["azure", "azureblob", "-", "sas_url: in the file"],
        ["site", "storage archive", "-", "pass: env P"],
        ["open", "doi", "-", "none"],
    ]
