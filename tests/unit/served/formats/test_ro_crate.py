"""The files of an RO-Crate."""

from __future__ import annotations

from typing import Any

import pytest

from efss_transfer.served.checksums import Checksum
from efss_transfer.served.documents import Unlisted
from efss_transfer.served.formats import ro_crate
from efss_transfer.served.manifest import UrlFile

URL = "https://x.test/c/ro-crate-metadata.json"


def read(*entities: Any) -> list[UrlFile]:
    return list(ro_crate.read({"@graph": list(entities)}, URL))


def test_file_of_the_crate_is_beside_its_metadata() -> None:
    root = {"@id": "./", "@type": "Dataset", "datePublished": "1970-01-02"}
    file = {"@id": "a%20b/c", "@type": "File", "contentSize": "5", "md5": "00" * 16}
    dated = {"@id": "d", "@type": ["File", "ImageObject"], "dateModified": "1970-01-03"}
    assert read(root, file, dated) == [
        UrlFile("ro-crate-metadata.json", (URL,), modified=86_400),
        UrlFile("a b/c", ("https://x.test/c/a%20b/c",), 5, Checksum("md5", bytes(16)), 86_400),
        UrlFile("d", ("https://x.test/c/d",), modified=172_800),
    ]


@pytest.mark.parametrize(
    ("entity", "path", "urls"),
    [
        ({"@id": "https://y.test/a/b%20c?d"}, "b c", ("https://y.test/a/b%20c?d",)),
        ({"@id": "https://y.test/a", "localPath": "z/a"}, "z/a", ("https://y.test/a",)),
        (
            {"@id": "a", "contentUrl": ["https://y.test/1", {"@id": "https://y.test/2"}, "b"]},
            "a",
            ("https://y.test/1", "https://y.test/2", "https://x.test/c/a"),
        ),
    ],
)
def test_file_on_the_web_has_its_own_url(
    entity: dict[str, Any], path: str, urls: tuple[str, ...]
) -> None:
    _, found = read({"@type": "File", **entity})
    assert (found.path, found.urls) == (path, urls)


@pytest.mark.parametrize(
    "entity",
    [
        *("text", {}, {"@type": "File"}, {"@type": "File", "@id": "#a"}),
        {"@type": "File", "@id": "ro-crate-metadata.json"},
        {"@type": "Dataset", "@id": "a/"},
    ],
)
def test_anything_else_is_no_file(entity: Any) -> None:
    assert len(read(entity)) == 1


@pytest.mark.parametrize("document", [{}, [], {"@graph": {}}, None])
def test_document_without_a_graph_is_no_crate(document: Any) -> None:
    with pytest.raises(Unlisted):
        list(ro_crate.read(document, URL))
