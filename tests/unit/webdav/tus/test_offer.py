"""What a server says of tus, from the headers of its answer to OPTIONS."""

from __future__ import annotations

from typing import cast

import pytest

from efss_transfer.webdav.http.exchange import Answer
from efss_transfer.webdav.tus.offer import TusOffer

OCIS = {
    "tus-resumable": "1.0.0",
    "tus-version": "1.0.0",
    "tus-extension": "creation,creation-with-upload,checksum,expiration",
}


class Said:
    """An answer with these headers."""

    def __init__(self, status: int, headers: dict[str, str]) -> None:
        self.status = status
        self._headers = headers

    def header(self, name: str) -> str | None:
        return self._headers.get(name)


def offer(status: int = 204, **headers: str) -> TusOffer | None:
    given = {name.replace("_", "-"): text for name, text in headers.items()}
    return TusOffer.of(cast(Answer, Said(status, {**OCIS, **given})))


def test_ocis_offers_uploads_of_any_size() -> None:
    assert offer() == TusOffer(None)


def test_largest_upload_is_known() -> None:
    assert offer(tus_max_size="1000") == TusOffer(1000)
    assert offer(tus_max_size="x") == TusOffer(None)


@pytest.mark.parametrize("version", ["0.2.2", "", "11.0.0"])
def test_another_version_is_no_offer(version: str) -> None:
    assert offer(tus_version=version or " ") is None


def test_one_of_several_versions_is_enough() -> None:
    assert offer(tus_version="2.0.0, 1.0.0") is not None


@pytest.mark.parametrize("extension", ["", "creation-with-upload", "termination"])
def test_server_that_lets_no_uploads_be_created_offers_nothing(extension: str) -> None:
    assert offer(tus_extension=extension) is None


def test_error_is_no_offer() -> None:
    assert offer(404) is None
