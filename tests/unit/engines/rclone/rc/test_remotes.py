"""From a request's two ends to what rclone is told of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from efss_transfer.engines.rclone.rc import remotes
from efss_transfer.engines.rclone.rc.remotes import RemotePath, remote_paths
from efss_transfer.model.errors import EngineError
from efss_transfer.model.request import Endpoint, TransferRequest, Value
from efss_transfer.model.result import Side

NEXTCLOUD = "https://cloud.example.org/remote.php/dav/files/alice"
MINIMUM: dict[str, dict[str, Value]] = {
    "webdav": {"url": "https://dav.example.org/home"},
    "s3": {"endpoint": "https://s3.example.org"},
    "sftp": {"host": "sftp.example.org", "user": "alice", "pass": "secret"},
    "ftp": {"host": "ftp.example.org", "user": "alice", "pass": "secret"},
    "google cloud storage": {"anonymous": True},
}


def end(storage: str, path: str = "", **parameters: Value) -> Endpoint:
    return Endpoint(storage, {**MINIMUM[storage], **parameters}, path)


def place(storage: str, path: str = "", **parameters: Value) -> RemotePath:
    """An end as rclone is told of it, with something else at the other."""
    other = end("ftp" if storage != "ftp" else "s3")
    return remote_paths(TransferRequest(end(storage, path, **parameters), other))[0]


def sent(storage: str, **parameters: Value) -> dict[str, Any]:
    return dict(place(storage, "", **parameters).remote.parameters)


@pytest.fixture
def any_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every option were allowed."""
    monkeypatch.setattr(remotes, "for_rclone", lambda _, parameters: dict(parameters))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("", ""),
        ("  kept \t", "  kept \t"),
        ("é 🎉 \"quoted\" 'too' \\n", "é 🎉 \"quoted\" 'too' \\n"),
        (True, "true"),
        (False, "false"),
        (22, "22"),
        (1_000_000, "1000000"),
        (123_456_789_012_345, "123456789012345"),
        (22.0, "22"),
        (1e6, "1000000"),
        (1e20, "100000000000000000000"),
        (0.5, "0.5"),
    ],
)
def test_rclone_is_told_texts_that_mean_what_the_caller_wrote(
    any_option: None, value: Value, text: str
) -> None:
    assert sent("ftp", anything=value)["anything"] == text


@pytest.mark.parametrize("storage", MINIMUM)
def test_rclone_is_told_nothing_but_texts(any_option: None, storage: str) -> None:
    told = sent(storage, a=1, b=2.0, c=True, d="e")
    assert {type(value) for value in told.values()} == {str}


@pytest.mark.parametrize(
    "pem",
    [
        "-----BEGIN-----\nline\nline\n-----END-----{}",
        "\n-----BEGIN-----\nline\nline\n-----END-----{}",
    ],
)
@pytest.mark.parametrize("ending", ["", "\n", "\n\n", " \n"])
def test_a_private_key_has_its_line_ends_as_rclone_takes_them(pem: str, ending: str) -> None:
    expected = "-----BEGIN-----\\nline\\nline\\n-----END-----"
    assert sent("sftp", key_pem=pem.format(ending))["key_pem"] == expected
    windows = pem.format(ending).replace("\n", "\r\n")
    assert sent("sftp", key_pem=windows)["key_pem"] == expected


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_service_account_has_no_line_ends_and_is_still_the_same(
    indent: int | None, line_end: str
) -> None:
    account = {"type": "service_account", "private_key": "-----BEGIN-----\nline\n-----END-----\n"}
    written = json.dumps(account, indent=indent).replace("\n", line_end) + line_end

    told = sent("google cloud storage", service_account_credentials=written)

    text = told["service_account_credentials"]
    assert "\n" not in text
    assert "\r" not in text
    assert json.loads(text) == account


@pytest.mark.parametrize(
    ("url", "path", "expected_url", "expected_path"),
    [
        (NEXTCLOUD, "a/b", NEXTCLOUD, "a/b"),
        (NEXTCLOUD, "", NEXTCLOUD, ""),
        (NEXTCLOUD + "/", "a", NEXTCLOUD + "/", "a"),
        (NEXTCLOUD + "/a", "b", NEXTCLOUD, "a/b"),
        (NEXTCLOUD + "/a/", "b", NEXTCLOUD, "a/b"),
        (NEXTCLOUD + "/a/b///", "c/", NEXTCLOUD, "a/b/c/"),
        (NEXTCLOUD + "/a", "/b", NEXTCLOUD, "a/b"),
        (NEXTCLOUD + "/a%20b/%C3%A9", "c%20d", NEXTCLOUD, "a b/é/c%20d"),
        (NEXTCLOUD + "/a%25b", "", NEXTCLOUD, "a%b/"),
        ("https://dav.example.org/home/a", "b", "https://dav.example.org/home/a", "b"),
        ("https://dav.example.org", "", "https://dav.example.org", ""),
    ],
)
def test_all_of_a_path_in_nextcloud_is_in_the_path_because_it_names_the_chunks(
    url: str, path: str, expected_url: str, expected_path: str
) -> None:
    made = place("webdav", path, url=url)
    assert made.remote.parameters["url"] == expected_url
    assert made.path == expected_path


@pytest.mark.parametrize("depth", ["", "/a", "/a/b"])
def test_a_folder_in_nextcloud_is_a_folder_wherever_its_name_stands(depth: str) -> None:
    assert place("webdav", "", url=NEXTCLOUD + depth).is_folder


@pytest.mark.parametrize(
    ("storage", "path", "expected"),
    [
        ("webdav", "/a", "a"),
        ("webdav", "//a/", "a/"),
        ("s3", "/bucket/a", "bucket/a"),
        ("s3", "/", ""),
        ("google cloud storage", "/bucket", "bucket"),
        # There it means the server's root, and not the user's home.
        ("sftp", "/srv/a", "/srv/a"),
        ("sftp", "a", "a"),
        ("sftp", "/", "/"),
        ("ftp", "/srv/a", "/srv/a"),
        ("ftp", "a", "a"),
    ],
)
def test_a_leading_slash_is_kept_only_where_it_means_something(
    storage: str, path: str, expected: str
) -> None:
    assert place(storage, path).path == expected


@pytest.mark.parametrize(
    ("parameters", "provider"),
    [
        ({"provider": "Ceph"}, "Ceph"),
        ({"provider": "AWS"}, "AWS"),
        ({}, "Other"),
    ],
)
def test_a_provider_that_is_left_out_is_the_one_that_the_schema_promises(
    parameters: dict[str, Value], provider: str
) -> None:
    assert sent("s3", **parameters)["provider"] == provider


def test_without_an_endpoint_the_provider_is_aws() -> None:
    made, _ = remote_paths(TransferRequest(Endpoint("s3", {}, "bucket"), end("ftp")))
    assert made.remote.parameters["provider"] == "AWS"


@pytest.mark.parametrize("storage", MINIMUM)
def test_one_storage_with_the_same_credentials_is_one_remote(storage: str) -> None:
    # Only within one remote does a storage copy by itself.
    parameters = dict(reversed(MINIMUM[storage].items()))
    source, destination = remote_paths(
        TransferRequest(end(storage, "a"), Endpoint(storage, parameters, "b"))
    )
    assert source.remote is destination.remote
    assert (source.path, destination.path) == ("a", "b")
    assert (source.side, destination.side) == (Side.SOURCE, Side.DESTINATION)
    assert source.fs != destination.fs


def test_one_nextcloud_is_one_remote_wherever_the_path_stands() -> None:
    source, destination = remote_paths(
        TransferRequest(
            end("webdav", "b", url=NEXTCLOUD + "/a"), end("webdav", "c", url=NEXTCLOUD + "/a/b")
        )
    )
    assert source.remote is destination.remote
    assert (source.path, destination.path) == ("a/b", "a/b/c")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (end("sftp"), end("sftp", port=2222)),
        (end("sftp"), end("sftp", user="bob")),
        (end("sftp"), end("sftp", **{"pass": "another"})),
        (end("sftp"), end("ftp", host="sftp.example.org")),
        (end("s3"), end("s3", region="eu")),
        (end("s3"), end("s3", endpoint="https://s3.example.com")),
        (end("webdav"), end("webdav", url="https://dav.example.org/home2")),
    ],
)
def test_whatever_differs_makes_two_remotes(one: Endpoint, other: Endpoint) -> None:
    source, destination = remote_paths(TransferRequest(one, other))
    assert source.remote.name != destination.remote.name
    assert source.fs.partition(":")[0] != destination.fs.partition(":")[0]


@pytest.mark.parametrize("path", ["a:b", ":local:/etc", "a,type=local:/etc", "/etc", "..b", ""])
@pytest.mark.parametrize("storage", MINIMUM)
def test_no_path_can_change_which_remote_is_meant(storage: str, path: str) -> None:
    source, destination = remote_paths(TransferRequest(end(storage, path), end(storage, path)))
    for made in (source, destination):
        for fs in (made.fs, made.parent):
            name, _, _ = fs.partition(":")
            assert name == made.remote.name
            assert name.isalpha()


@pytest.mark.parametrize(
    ("storage", "path", "folder"),
    [
        ("webdav", "", True),
        ("webdav", "/", True),
        ("webdav", "a/", True),
        ("webdav", "a", False),
        ("webdav", "a/b", False),
        ("s3", "bucket", True),
        ("s3", "bucket/", True),
        ("s3", "bucket/a", False),
        ("s3", "bucket/a/", True),
        ("google cloud storage", "bucket", True),
        ("google cloud storage", "bucket/a", False),
        ("sftp", "", True),
        ("sftp", "/", True),
        ("sftp", "/a", False),
        ("sftp", "/a/", True),
        ("ftp", "a", False),
    ],
)
def test_whether_a_path_can_only_be_a_folder(storage: str, path: str, folder: bool) -> None:
    assert place(storage, path).is_folder is folder


@pytest.mark.parametrize(
    ("storage", "path", "parent", "name"),
    [
        ("webdav", "a", "source:", "a"),
        ("webdav", "a/b.h5", "source:a", "b.h5"),
        ("webdav", "a/b/", "source:a", "b"),
        ("webdav", "", "source:", ""),
        ("s3", "bucket/a/b.h5", "source:bucket/a", "b.h5"),
        ("s3", "bucket/b.h5", "source:bucket", "b.h5"),
        ("sftp", "/b.h5", "source:/", "b.h5"),
        ("sftp", "/a/b.h5", "source:/a", "b.h5"),
        ("sftp", "a:b/c:d", "source:a:b", "c:d"),
    ],
)
def test_a_file_is_named_by_its_folder_and_its_name(
    storage: str, path: str, parent: str, name: str
) -> None:
    made = place(storage, path)
    assert (made.parent, made.name) == (parent, name)


def test_a_remote_that_ends_up_in_a_log_shows_no_parameters() -> None:
    made = place("sftp", "a", **{"pass": "canary-secret"})
    assert "canary" not in repr(made)
    assert "canary" not in str(made.remote)
    assert made.remote.name in repr(made)


@pytest.mark.parametrize("storage", ["sftp", "ftp"])
@pytest.mark.parametrize("host", ["2001:db8::1", "[2001:db8::1]"])
def test_an_address_of_ipv6_stands_in_brackets(storage: str, host: str) -> None:
    assert sent(storage, host=host)["host"] == "[2001:db8::1]"


@pytest.mark.parametrize(
    ("storage", "name"),
    [("sftp", "ssh"), ("webdav", "bearer_token_command"), ("s3", "env_auth"), ("local", "nounc")],
)
def test_what_the_schema_would_let_through_rclone_is_still_not_told(
    storage: str, name: str
) -> None:
    with pytest.raises(EngineError, match="not allowed"):
        remote_paths(TransferRequest(Endpoint(storage, {name: "x"}, ""), end("ftp")))


def test_a_type_that_dials_for_itself_is_told_of_the_way_out() -> None:
    source, destination = remote_paths(
        TransferRequest(end("sftp"), end("s3")),
        lambda storage: {"socks_proxy": "127.0.0.1:1"} if storage == "sftp" else {},
    )
    assert source.remote.parameters["socks_proxy"] == "127.0.0.1:1"
    assert "socks_proxy" not in destination.remote.parameters
