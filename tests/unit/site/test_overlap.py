"""A copy onto or into itself is refused in every spelling, and all other copies are allowed."""

from __future__ import annotations

from typing import Any

import pytest

from efss_transfer.model.errors import InvalidRequest
from support.admission import DAV, aws, check, ftp, gcs, s3, sftp, webdav


def refused(source: dict[str, Any], destination: dict[str, Any]) -> bool:
    """Whether a copy is refused because its ends are not two places."""
    try:
        check(source, destination)
    except InvalidRequest as error:
        told = [(violation.pointer, violation.keyword) for violation in error.violations]
        assert told == [("/destination", "distinct")]
        return True
    return False


ONE_PLACE = {
    "the very same": (webdav("a"), webdav("a")),
    "the root": (webdav(), webdav()),
    "a slash behind": (webdav("a/b"), webdav("a/b/")),
    "a slash before": (webdav("/a/b"), webdav("a/b")),
    "two slashes between": (webdav("a//b"), webdav("a/b")),
    "two slashes before": (webdav("//a"), webdav("a")),
    "two slashes in the URL": (webdav("a"), webdav("a", "https://cloud.example.org//" + DAV[26:])),
    "a slash behind the URL": (webdav("a"), webdav("a", DAV + "/")),
    "the port that is meant anyway": (
        webdav("a"),
        webdav("a", DAV.replace(".org", ".org:443")),
    ),
    "that of http": (
        webdav("a", "http://h.example.org"),
        webdav("a", "http://h.example.org:80"),
    ),
    "the host's case": (webdav("a"), webdav("a", DAV.replace("cloud.example", "Cloud.EXAMPLE"))),
    "a dot behind the host": (webdav("a"), webdav("a", DAV.replace(".org", ".org."))),
    "a dot and a port": (webdav("a"), webdav("a", DAV.replace(".org", ".org.:443"))),
    "in the URL or in the path": (webdav("a/b"), webdav("b", DAV + "/a")),
    "all of it in the URL": (webdav("a/b"), webdav("", DAV + "/a/b/")),
    "percent signs in the URL": (webdav("a b"), webdav("", DAV + "/a%20b")),
    "percent signs that need not be": (webdav("ab"), webdav("", DAV + "/%61%62")),
    "letters in the URL": (webdav("é"), webdav("", DAV + "/%C3%A9")),
    "dots in the URL": (webdav("a"), webdav("a", DAV + "/x/../.")),
    "dots in the URL, written with percent signs": (
        webdav("a"),
        webdav("a", DAV + "/x/%2E%2e"),
    ),
    "another vendor": (webdav("a", vendor="nextcloud"), webdav("a", vendor="other")),
    "another password": (
        webdav("a", user="alice", **{"pass": "one"}),
        webdav("a", user="alice", **{"pass": "two"}),
    ),
    "another user's credentials": (
        webdav("a", user="alice", **{"pass": "one"}),
        webdav("a", user="bob", **{"pass": "two"}),
    ),
    "a token instead of a password": (
        webdav("a", user="alice", **{"pass": "one"}),
        webdav("a", bearer_token="token"),
    ),
    "S3: a slash behind": (s3("bucket/a"), s3("bucket/a/")),
    "S3: the bucket alone": (s3("bucket"), s3("/bucket/")),
    "S3: no scheme": (s3("bucket/a"), s3("bucket/a", "s3.example.org")),
    "S3: the port that is meant anyway": (s3("b"), s3("b", "s3.example.org:443")),
    "S3: the host's case": (s3("b"), s3("b", "https://S3.EXAMPLE.org.")),
    "S3: other keys": (
        s3("b/a", access_key_id="one", secret_access_key="one"),
        s3("b/a", access_key_id="two", secret_access_key="two"),
    ),
    "S3: another region's name for it": (s3("b/a", region="eu"), s3("b/a", region="us")),
    "S3: another provider's name for it": (s3("b/a", provider="Ceph"), s3("b/a", provider="Other")),
    "S3: the provider that is meant anyway": (s3("b/a"), s3("b/a", provider="Other")),
    "AWS": (aws("b/a"), aws("b/a")),
    "AWS: said or not": (aws("b/a"), aws("b/a", provider="AWS")),
    "SFTP": (sftp("a"), sftp("a/")),
    "SFTP: the port that is meant anyway": (sftp("a"), sftp("a", port=22)),
    "SFTP: a port with a point": (sftp("a", port=2222), sftp("a", port=2222.0)),
    "SFTP: the host's case, and a dot": (sftp("a"), sftp("a", host="FILES.example.org.")),
    "SFTP: the home": (sftp(), sftp()),
    "SFTP: the server's root": (sftp("/"), sftp("//")),
    "SFTP: a key instead of a password": (sftp("a"), sftp("a", key_pem="key")),
    "FTP: the port that is meant anyway": (ftp("/a"), ftp("/a/", port=21)),
    "FTP: with and without TLS": (ftp("a"), ftp("a", explicit_tls=True)),
    "Google": (gcs("b/a"), gcs("b/a/", access_token="token")),
}

INTO_ITSELF = {
    "below": (webdav("a"), webdav("a/b")),
    "far below": (webdav("a"), webdav("a/b/c/d/")),
    "below, with a slash": (webdav("a/"), webdav("a/b")),
    "below the root": (webdav(), webdav("backup")),
    "below the root, by the URL": (webdav(), webdav("", DAV + "/backup")),
    "below, by percent signs": (webdav("a b"), webdav("", DAV + "/a%20b/c")),
    "below, in another spelling": (
        webdav("a/"),
        webdav("/b", DAV.replace(".org", ".ORG.:443") + "/a"),
    ),
    "a bucket into itself": (s3("bucket"), s3("bucket/backup")),
    "Google": (gcs("bucket/a"), gcs("bucket/a/b")),
    "SFTP": (sftp("a"), sftp("a/b")),
    "SFTP: the server's root": (sftp("/"), sftp("/srv/backup")),
    "SFTP: the home": (sftp(), sftp("backup")),
    "SFTP: the server's root into the home": (sftp("/"), sftp("backup")),
    "FTP: the home": (ftp(), ftp("backup")),
}

TWO_PLACES = {
    "two types": (webdav("a"), s3("a")),
    "two types at one server": (
        sftp("a", host="h.example.org", port=21),
        ftp("a", host="h.example.org"),
    ),
    "two servers": (webdav("a"), webdav("a", DAV.replace("cloud", "cloud2"))),
    "two ports": (webdav("a"), webdav("a", DAV.replace(".org", ".org:8443"))),
    "two users' folders": (webdav("a"), webdav("a", DAV.replace("alice", "bob"))),
    # There the user tells which files are meant: the URL is the same for all.
    "two users of an address that is each user's own": (
        webdav("a", "https://cloud.example.org/remote.php/webdav", user="alice"),
        webdav("a", "https://cloud.example.org/remote.php/webdav", user="bob"),
    ),
    "two public links": (
        webdav("", "https://cloud.example.org/public.php/webdav", user="token-of-one-link"),
        webdav("", "https://cloud.example.org/public.php/webdav", user="token-of-another"),
    ),
    "side by side": (webdav("a"), webdav("b")),
    "one name begins like the other": (webdav("a"), webdav("ab")),
    "one name begins like the other, below": (webdav("x/a/"), webdav("x/ab/c")),
    "one name ends like the other": (webdav("ab"), webdav("b")),
    "another case": (webdav("a"), webdav("A")),
    "a percent sign in a path is only that": (webdav("a%41"), webdav("aA")),
    "a percent sign in a path, and one in the URL": (webdav("a%20b"), webdav("", DAV + "/a%20b")),
    "out of a folder": (webdav("a/b"), webdav("a")),
    "out of a folder, to the root": (webdav("a/b"), webdav()),
    "two buckets": (s3("bucket-1/a"), s3("bucket-2/a")),
    "one bucket's name begins like the other's": (s3("bucket"), s3("bucket-2")),
    "out of a bucket's folder": (s3("bucket/a/b"), s3("bucket")),
    "two S3 servers": (s3("b/a"), s3("b/a", "https://s3.example.com")),
    "AWS, and somebody else": (aws("b/a"), s3("b/a")),
    "two hosts": (sftp("a"), sftp("a", host="files2.example.org")),
    "two ports of a host": (sftp("a"), sftp("a", port=2222)),
    "two users' homes": (sftp("a"), sftp("a", user="bob")),
    "two users' homes, all of them": (sftp(), sftp("backup", user="bob")),
    "two users' homes on FTP": (ftp("a"), ftp("a", user="bob")),
    "one name begins like the other, at home": (sftp("a"), sftp("ab")),
    "Google, and one that speaks like it": (gcs("b/a"), gcs("b/a", endpoint="storage.example.org")),
}


@pytest.mark.parametrize("name", ONE_PLACE)
def test_copy_onto_itself_is_refused_in_every_spelling(name: str) -> None:
    one, other = ONE_PLACE[name]
    assert refused(one, other)
    assert refused(other, one)


@pytest.mark.parametrize("name", INTO_ITSELF)
def test_copy_into_itself_is_refused_and_out_of_itself_allowed(name: str) -> None:
    folder, below = INTO_ITSELF[name]
    assert refused(folder, below)
    assert not refused(below, folder)


def test_copy_of_all_buckets_into_one_of_them_is_refused() -> None:
    assert refused(s3(), s3("bucket"))


@pytest.mark.parametrize("name", TWO_PLACES)
def test_different_locations_are_allowed(name: str) -> None:
    assert not refused(*TWO_PLACES[name])
