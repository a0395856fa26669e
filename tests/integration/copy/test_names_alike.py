"""Two names that are one to a server without the WebDAV gateway: the second is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from support import faulty_webdav, listing_ftp
from support.service_process import Function
from support.storages import Storage, digest

PAIRS: Final = {
    "a file": ("README", "readme"),
    "in a folder": ("sub/Name.txt", "sub/name.TXT"),
    "beyond ASCII": ("ÄRGER.txt", "ärger.txt"),
}


def request_of(pair: tuple[str, str], how: str) -> dict[str, Any]:
    listed = [{"path": path} for path in (*pair, "alone")]
    return {"selection": {"files": listed}} if how == "by name" else {}


@pytest.mark.field_case("D3", variant="an FTP server on a disk that ignores case")
@pytest.mark.parametrize("how", ["whole", "by name"])
@pytest.mark.parametrize("pair", PAIRS)
def test_second_of_two_names_is_refused_at_an_ftp_server_on_a_blind_disk(
    pair: str, how: str, function: Function, s3: Storage, folder: str, tmp_path: Path
) -> None:
    contents = {name: f"content of {name}".encode() for name in PAIRS[pair]} | {"alone": b"a"}
    s3.fill(f"bucket/{folder}", contents)
    with listing_ftp.serving(tmp_path, mlsd=True, hides=False, blind=True) as server:
        for _ in range(2):
            answer = function.copy(
                s3.endpoint(folder), server.endpoint("to"), **request_of(PAIRS[pair], how)
            )
            assert (answer.status_code, answer.json()["code"]) == (502, "partial"), answer.text
            (error,) = answer.json()["result"]["errors"]
            assert (error["code"], error["count"]) == ("name_refused", 1)
            (refused,) = error["samples"]
            (winner,) = contents.keys() - {refused["path"], "alone"}
            assert winner in refused["message"]
            assert server.hashes("to") == {
                name: digest(contents[name]) for name in (winner, "alone")
            }


@pytest.mark.field_case("D3")
@pytest.mark.parametrize("pair", PAIRS)
def test_second_of_two_names_is_refused_at_a_webdav_server_without_the_gateway(
    pair: str, s3: Storage, folder: str, direct: Function
) -> None:
    contents = {name: f"content of {name}".encode() for name in PAIRS[pair]} | {"alone": b"a"}
    s3.fill(f"bucket/{folder}", contents)
    with faulty_webdav.serving() as dav:
        dav.blind = True
        answer = direct.copy(s3.endpoint(folder), dav.endpoint("to"))
        assert (answer.status_code, answer.json()["code"]) == (502, "partial"), answer.text
        (error,) = answer.json()["result"]["errors"]
        (refused,) = error["samples"]
        (winner,) = contents.keys() - {refused["path"], "alone"}
        assert (error["code"], winner in refused["message"]) == ("name_refused", True)
        assert dav.hashes("to") == {name: digest(contents[name]) for name in (winner, "alone")}
        assert not [one for one in dav.folders if "efss-transfer" in one]


@pytest.mark.field_case("D3")
@pytest.mark.parametrize("to", ["sftp", "ftp", "s3"])
def test_server_that_keeps_names_apart_gets_them_all(
    to: str, function: Function, storages: dict[str, Storage], s3: Storage, folder: str
) -> None:
    files = {name: name.encode() for pair in PAIRS.values() for name in pair}
    expected = s3.fill(f"bucket/{folder}", files)
    target = f"{folder}-to"
    answer = function.copy(s3.endpoint(folder), storages[to].endpoint(target))
    assert answer.status_code == 200, answer.text
    assert storages[to].hashes(f"bucket/{target}" if to == "s3" else target) == expected
