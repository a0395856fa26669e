"""`Client.list` and `Client.check`."""

from __future__ import annotations

import pytest

from efss_transfer.client import Client, ClientError
from support.contract import complaints
from support.service_process import Function
from support.storages import Storage


def test_client_lists_and_checks(function: Function, webdav: Storage, folder: str) -> None:
    webdav.fill(folder, {"a.txt": b"1", "b.txt": b"22"})
    endpoint = webdav.endpoint(folder)
    with Client(function.url) as client:
        listing = client.list(endpoint, limit=1)
        assert complaints("listing", listing) == []
        assert ([it["name"] for it in listing["entries"]], listing["count"]) == (["a.txt"], 2)
        assert client.list(endpoint)["truncated"] is False
        check = client.check(endpoint, write=True)
        assert complaints("check", check) == []
        assert check["passed"]
        assert not client.check(webdav.endpoint(f"{folder}/nothing"))["passed"]
        with pytest.raises(ClientError) as missing:
            client.list(webdav.endpoint(f"{folder}/nothing"))
        assert (missing.value.code, missing.value.retryable) == ("source_not_found", False)
        with pytest.raises(ClientError) as invalid:
            client.check({"type": "webdav"})
        assert invalid.value.code == "invalid_request"
