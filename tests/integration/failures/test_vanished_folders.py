"""A folder of the source that vanishes during the copy is one cause, and not many."""

from __future__ import annotations

import pytest

from support.faulty_webdav import Faulty, Request, status
from support.outcomes import checked_result
from support.service_process import Function
from support.storages import Storage

FILES = {f"sub/{number:02}.bin": bytes([number]) for number in range(24)} | {"a.bin": b"a"}


@pytest.fixture(params=["gateway", "direct"])
def either(request: pytest.FixtureRequest, function: Function, direct: Function) -> Function:
    return function if request.param == "gateway" else direct


@pytest.mark.field_case("J11")
@pytest.mark.parametrize("gone", ["web/data/sub", "web/data"])
def test_folder_that_vanishes_is_named_once(
    gone: str, either: Function, dav: Faulty, s3: Storage, folder: str
) -> None:
    expected = dav.fill("web/data", FILES)
    reads: list[str] = []

    def remove(request: Request) -> bool:
        reads.append(request.path)
        if len(reads) == 8:
            dav.folders -= {it for it in dav.folders if f"{it}/".startswith(f"/{gone}/")}
            for path in [it for it in dav.files if it.startswith(f"/{gone}/")]:
                del dav.files[path]
        return False

    dav.fail("GET", "/web/data/sub/*", status(404), when=remove)
    answer = either.copy(
        dav.endpoint("data", "/web"), s3.endpoint(folder), options={"transfers": 2}
    )

    assert answer.status_code in (207, 422, 502), answer.text
    [error] = checked_result(answer)["errors"]
    assert (error["code"], error["side"]) == ("source_not_found", "source")
    arrived = s3.hashes(f"bucket/{folder}")
    assert arrived.items() <= expected.items()
    assert error["count"] == len(FILES) - len(arrived)
    cause = error["samples"][0]
    assert f"data{gone.removeprefix('web/data')}` was moved, renamed or deleted" in cause["message"]
    assert cause.get("path", "") == gone.removeprefix("web/data").strip("/")


def test_files_that_vanish_from_a_folder_are_named(
    function: Function, dav: Faulty, s3: Storage, folder: str
) -> None:
    dav.fill("web/data", FILES)
    dav.fail("GET", "/web/data/sub/0*", status(404))
    answer = function.copy(dav.endpoint("data", "/web"), s3.endpoint(folder))
    [error] = checked_result(answer)["errors"]
    assert error["count"] == 10
    assert all(sample["path"].startswith("sub/0") for sample in error["samples"])
