"""Indexes as servers write them, and parts of them."""

from __future__ import annotations

import pytest

from efss_transfer.engines.rclone.http_index import documents

URL = "http://host/data/a%20b/"
SERVERS = {
    "apache": (
        '<html><head><title>Index of /data</title></head><body><table><tr><th><a href="?C=N;O=D">'
        'Name</a></th></tr><tr><td><a href="/data/">Parent Directory</a></td></tr>'
        '<tr><td><a href="x.txt">x.txt</a></td></tr><tr><td><a href="sub/">sub/</a></td></tr>'
        "</table></body></html>"
    ),
    "apache, no preamble": (
        '<pre><img src="f.gif"> <a href="?C=M;O=A">Name</a><hr><a href="x.txt">x.txt</a>\n'
        '<a href="sub/">sub/</a>\n<hr></pre>\n'
    ),
    "nginx": (
        '<html>\r\n<body>\r\n<h1>Index of /</h1><hr><pre><a href="../">../</a>\r\n'
        '<a href="sub/">sub/</a> 01-Jan\r\n<a href="x.txt">x.txt</a> 01-Jan\r\n'
        "</pre><hr></body>\r\n</html>\r\n"
    ),
    "absolute": (
        '<!DOCTYPE HTML><html><body><ul><li><a HREF=/data/a%20b/x.txt>x</a><li><a class="f" '
        "href='http://host/data/a%20b/sub/'>sub</a></ul></body></html>"
    ),
    "elsewhere": (
        '<ul><li><a href="x.txt#top">x</a><li><a href="sub/">s</a><li><a href="sub/y.txt">y</a>'
        '<li><a href="//other/data/a%20b/z">z</a><li><a href="q?download=1">q</a></ul>'
        '<a href="http://[">?</a><a name=top>'
    ),
}


@pytest.mark.parametrize("server", SERVERS)
def test_whole_index_has_its_entries(server: str) -> None:
    index = documents.read(URL, SERVERS[server], ends_with_connection=server != "elsewhere")
    assert index == documents.Index(frozenset({"x.txt", "sub/"}), False, (), False)


@pytest.mark.parametrize("server", [name for name in SERVERS if name != "elsewhere"])
def test_each_beginning_of_index_without_some_entry_is_cut(server: str) -> None:
    """It ends in a tag, or in an element that has entries."""
    text = SERVERS[server]
    whole = documents.read(URL, text, ends_with_connection=True).names
    opened = text.lower().index("<body" if "<body" in text else "<pre") + 6
    for end in range(opened, len(text)):
        index = documents.read(URL, text[:end], ends_with_connection=True)
        assert index.is_cut or index.names == whole, text[:end]


@pytest.mark.parametrize(
    ("link", "is_page"),
    [
        ('<a href="?page=2">', True),
        ('<a href="/data/a%20b/?C=N&amp;start=100">', True),
        ("<link rel=next href=more.html>", True),
        ('<a rel="nofollow next" href="more.html">', True),
        ('<a href="?page=">', False),
        ('<a href="/data/?page=2">', False),
        ('<a href="?download=all">', False),
        ('<a href="?sort=name&order=desc">', False),
        ('<!-- <a href="?page=2"> -->', False),
    ],
)
def test_further_page_is_known_by_its_link(link: str, is_page: bool) -> None:
    index = documents.read(URL, f"<body>{link}x</a></body>", ends_with_connection=True)
    assert bool(index.pages) is is_page


def test_form_for_signing_in_is_known() -> None:
    page = '<form><input name="user"><input type="password" name="x"></form>'
    assert documents.read(URL, page, ends_with_connection=False).asks_for_password
