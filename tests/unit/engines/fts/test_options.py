"""What jobs of FTS cannot do is refused by its name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from efss_transfer.engines.fts.options import refuse_unsupported
from efss_transfer.model.errors import UnsupportedByEngine
from efss_transfer.model.request import Endpoint, Options, TransferRequest
from efss_transfer.model.verification import VerifyMode

DAV = Endpoint("webdav", {"url": "https://dav.example.org/", "bearer_token": "x"}, "data")
GOOD = TransferRequest(DAV, DAV)


def test_webdav_to_webdav_with_tokens_is_taken() -> None:
    refuse_unsupported(GOOD)
    refuse_unsupported(replace(GOOD, options=Options(verify=VerifyMode.CHECKSUM, detach=True)))
    renewed = {"url": "https://dav.example.org/", "token_source": "https://t.example.org/"}
    refuse_unsupported(replace(GOOD, source=replace(DAV, parameters=renewed)))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"source": Endpoint("s3", {}, "bucket")}, "source.type"),
        ({"destination": Endpoint("sftp", {}, "")}, "destination.type"),
        ({"source": replace(DAV, parameters={"url": "https://h/", "user": "a"})}, r"X\.509"),
        ({"options": Options(metadata=True)}, r"options\.metadata"),
        ({"options": Options(transfers=3)}, r"options\.transfers"),
        ({"options": Options(on_error="stop")}, r"options\.on_error"),
        ({"options": Options(bandwidth_limit=5000)}, r"options\.bandwidth_limit"),
        ({"options": Options(verify=VerifyMode.DOWNLOAD)}, r"options\.verify"),
        ({"options": Options(create_bucket=True)}, r"options\.create_bucket"),
    ],
)
def test_each_of_these_is_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(UnsupportedByEngine, match=named):
        refuse_unsupported(replace(GOOD, **changes))
