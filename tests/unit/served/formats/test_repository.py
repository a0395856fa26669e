"""Pages of records, and where the repository's API has the same record."""

from __future__ import annotations

import pytest

from efss_transfer.served.formats import repository


@pytest.mark.parametrize(
    ("page", "api"),
    [
        ("https://zenodo.test/records/12", "https://zenodo.test/api/records/12"),
        ("https://zenodo.test/record/12/files/a", "https://zenodo.test/api/records/12"),
        ("https://x.test/sub/records/ab-1.2?preview=1", "https://x.test/sub/api/records/ab-1.2"),
        ("https://zenodo.test/api/records/12", "https://zenodo.test/api/records/12"),
        (
            "https://data.test/dv/dataset.xhtml?persistentId=doi:10.1/A&version=2",
            "https://data.test/dv/api/datasets/:persistentId/?persistentId=doi:10.1/A",
        ),
        (
            "https://data.test/citation?persistentId=doi:10.1/A",
            "https://data.test/api/datasets/:persistentId/?persistentId=doi:10.1/A",
        ),
        (
            "https://data.test/api/datasets/:persistentId/?persistentId=doi:10.1/A",
            "https://data.test/api/datasets/:persistentId/?persistentId=doi:10.1/A",
        ),
        ("https://x.test/list.json", None),
        ("https://x.test/dataset.xhtml", None),
    ],
)
def test_api_of_a_page_is_known(page: str, api: str | None) -> None:
    assert repository.api_of(page) == api


@pytest.mark.parametrize(
    ("url", "is_page"),
    [
        ("https://doi.org/10.5281/zenodo.1", True),
        ("https://dx.doi.org/10.5281/zenodo.1", True),
        ("https://zenodo.test/records/12", True),
        ("https://zenodo.test/api/records/12", False),
        ("https://x.test/files.tsv", False),
    ],
)
def test_page_for_people_is_told_from_a_list(url: str, is_page: bool) -> None:
    assert repository.is_page(url) == is_page
