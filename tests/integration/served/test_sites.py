"""Lists of URLs at sites with rules of their own: a proxy, hosts, storages of the site file."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support import service_process
from support.forward_proxy import forward_proxy
from support.published import Published, manifest, redirect, stored, urls
from support.service_process import Function
from support.storages import Storage

LOOPBACK = {"networks": ["127.0.0.0/8"]}


@pytest.mark.slow
@pytest.mark.parametrize("gateway", ["0", "1"])
def test_files_are_read_through_the_proxy_of_the_site(
    tmp_path: Path, web: Published, webdav: Storage, to: str, gateway: str
) -> None:
    expected = web.fill({"a": b"1", "b": b"22"})
    port = urlsplit(web.url).port
    there = urlsplit(str(webdav.parameters["url"]))
    assert port is not None
    assert there.port is not None
    (tmp_path / "run").mkdir()
    with (
        forward_proxy({"one.example": port, "two.example": there.port}) as proxy,
        service_process.function(
            tmp_path / "run", site={"egress_proxy": proxy.url}, WEBDAV_GATEWAY=gateway
        ) as function,
    ):
        web.answers["/inside"] = redirect("http://10.1.2.3/x")
        files = [
            {"url": f"http://one.example/{name}", "path": name, "size": size}
            for name, size in (("a", 1), ("b", 2), ("inside", 3))
        ]
        destination = webdav.endpoint(to, url=there._replace(netloc="two.example").geturl())
        answer = function.copy(urls(files), destination, options={"attempts": 1})
        assert answer.status_code == 502, answer.text
        (failed,) = answer.json()["result"]["files"]
        assert (failed["path"], failed["error"]["code"]) == ("inside", "forbidden")
        assert stored(webdav, to) == expected


@pytest.mark.slow
def test_site_may_name_a_list_and_deny_hosts(
    tmp_path: Path, web: Published, webdav: Storage, to: str
) -> None:
    expected = web.fill({"a": b"1"})
    web.files["/list.tsv"] = f"TsvHttpData-1.0\n{web.at('/a')}\t1\n".encode()
    site = {
        "allow": LOOPBACK,
        "deny": {"hosts": ["localhost"]},
        "storages": {"data": {"type": "urls", "parameters": {"manifest": web.at("/list.tsv")}}},
    }
    (tmp_path / "run").mkdir()
    with service_process.function(tmp_path / "run", site=site) as function:
        source = {"storage": "data", "path": "127.0.0.1"}
        answer = function.copy(source, webdav.endpoint(to))
        assert answer.status_code == 200, answer.text
        assert stored(webdav, to) == expected
        there = manifest(web.at("/list.tsv").replace("127.0.0.1", "localhost"))
        answer = function.copy(there, webdav.endpoint(to))
        assert answer.status_code == 403
        assert [it["pointer"] for it in answer.json()["errors"]] == ["/source/parameters/manifest"]


def test_list_can_be_checked(function: Function, web: Published) -> None:
    web.files["/list.tsv"] = f"TsvHttpData-1.0\n{web.at('/a')}\t1\n".encode()
    answer = function.post({"endpoint": manifest(web.at("/list.tsv"))}, "/check")
    assert answer.status_code == 200, answer.text
    web.files.clear()
    answer = function.post({"endpoint": manifest(web.at("/list.tsv"))}, "/check")
    assert answer.status_code in (200, 422), answer.text
    assert "source_not_found" in answer.text
