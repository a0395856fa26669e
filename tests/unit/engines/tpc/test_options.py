"""What third-party copies cannot do is refused by its name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from efss_transfer.engines.tpc.options import refuse_unsupported
from efss_transfer.model.errors import UnsupportedByEngine
from efss_transfer.model.request import Endpoint, Options, TransferRequest
from efss_transfer.model.verification import VerifyMode

DAV = Endpoint("webdav", {"url": "https://dav.example.org/"}, "data")
GOOD = TransferRequest(DAV, DAV)


def test_webdav_to_webdav_is_taken() -> None:
    refuse_unsupported(GOOD)
    refuse_unsupported(replace(GOOD, options=Options(verify=VerifyMode.CHECKSUM, transfers=64)))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"source": Endpoint("s3", {}, "bucket")}, "source.type"),
        ({"destination": Endpoint("sftp", {}, "")}, "destination.type"),
        (
            {"source": replace(DAV, parameters={**DAV.parameters, "vendor": "sharepoint"})},
            "source.parameters.vendor",
        ),
        ({"options": Options(metadata=True)}, "options.metadata"),
        ({"options": Options(bandwidth_limit=5000)}, "options.bandwidth_limit"),
        ({"options": Options(verify=VerifyMode.DOWNLOAD)}, "options.verify"),
        ({"options": Options(create_bucket=True)}, "options.create_bucket"),
    ],
)
def test_each_of_these_is_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(UnsupportedByEngine, match=named):
        refuse_unsupported(replace(GOOD, **changes))
