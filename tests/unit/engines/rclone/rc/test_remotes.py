"""Remotes and paths that rclone gets for a request's endpoints."""

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


def endpoint(storage: str, path: str = "", **parameters: Value) -> Endpoint:
    return Endpoint(storage, {**MINIMUM[storage], **parameters}, path)


def remote_path(storage: str, path: str = "", **parameters: Value) -> RemotePath:
    """An endpoint as rclone gets it, with another storage as the destination."""
    other = endpoint("ftp" if storage != "ftp" else "s3")
    return remote_paths(TransferRequest(endpoint(storage, path, **parameters), other))[0]


def parameters_of(storage: str, **parameters: Value) -> dict[str, Any]:
    return dict(remote_path(storage, "", **parameters).remote.parameters)


@pytest.fixture
def any_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every option were allowed."""
    monkeypatch.setattr(remotes, "rclone_parameters", lambda _, parameters: dict(parameters))


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
def test_values_are_sent_as_texts_with_the_same_meaning(
    any_option: None, value: Value, text: str
) -> None:
    assert parameters_of("ftp", anything=value)["anything"] == text


@pytest.mark.parametrize("storage", MINIMUM)
def test_all_parameters_are_sent_as_texts(any_option: None, storage: str) -> None:
    parameters = parameters_of(storage, a=1, b=2.0, c=True, d="e")
    assert {type(value) for value in parameters.values()} == {str}


@pytest.mark.parametrize(
    "pem",
    [
        "-----BEGIN-----\nline\nline\n-----END-----{}",
        "\n-----BEGIN-----\nline\nline\n-----END-----{}",
    ],
)
@pytest.mark.parametrize("ending", ["", "\n", "\n\n", " \n"])
def test_line_breaks_of_a_private_key_are_escaped(pem: str, ending: str) -> None:
    expected = "-----BEGIN-----\\nline\\nline\\n-----END-----"
    assert parameters_of("sftp", key_pem=pem.format(ending))["key_pem"] == expected
    windows = pem.format(ending).replace("\n", "\r\n")
    assert parameters_of("sftp", key_pem=windows)["key_pem"] == expected


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_service_account_is_sent_as_the_same_json_without_line_breaks(
    indent: int | None, line_end: str
) -> None:
    account = {"type": "service_account", "private_key": "-----BEGIN-----\nline\n-----END-----\n"}
    written = json.dumps(account, indent=indent).replace("\n", line_end) + line_end

    parameters = parameters_of("google cloud storage", service_account_credentials=written)

    text = parameters["service_account_credentials"]
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
def test_whole_nextcloud_path_is_in_the_path_that_names_the_chunks(
    url: str, path: str, expected_url: str, expected_path: str
) -> None:
    found = remote_path("webdav", path, url=url)
    assert found.remote.parameters["url"] == expected_url
    assert found.path == expected_path


@pytest.mark.parametrize("depth", ["", "/a", "/a/b"])
def test_folder_in_the_url_of_nextcloud_is_a_folder(depth: str) -> None:
    assert remote_path("webdav", "", url=NEXTCLOUD + depth).is_folder


@pytest.mark.parametrize(
    ("storage", "path", "expected"),
    [
        ("webdav", "/a", "a"),
        ("webdav", "//a/", "a/"),
        ("s3", "/bucket/a", "bucket/a"),
        ("s3", "/", ""),
        ("google cloud storage", "/bucket", "bucket"),
        # Here a leading slash means the server's root, and not the user's home.
        ("sftp", "/srv/a", "/srv/a"),
        ("sftp", "a", "a"),
        ("sftp", "/", "/"),
        ("ftp", "/srv/a", "/srv/a"),
        ("ftp", "a", "a"),
    ],
)
def test_leading_slash_is_kept_only_for_types_with_a_root(
    storage: str, path: str, expected: str
) -> None:
    assert remote_path(storage, path).path == expected


@pytest.mark.parametrize(
    ("parameters", "provider"),
    [
        ({"provider": "Ceph"}, "Ceph"),
        ({"provider": "AWS"}, "AWS"),
        ({}, "Other"),
    ],
)
def test_missing_provider_is_the_default_of_the_schema(
    parameters: dict[str, Value], provider: str
) -> None:
    assert parameters_of("s3", **parameters)["provider"] == provider


def test_provider_without_an_endpoint_is_aws() -> None:
    found, _ = remote_paths(TransferRequest(Endpoint("s3", {}, "bucket"), endpoint("ftp")))
    assert found.remote.parameters["provider"] == "AWS"


@pytest.mark.parametrize("storage", MINIMUM)
def test_same_storage_and_credentials_share_one_remote(storage: str) -> None:
    # A storage copies on its own only within one remote.
    parameters = dict(reversed(MINIMUM[storage].items()))
    source, destination = remote_paths(
        TransferRequest(endpoint(storage, "a"), Endpoint(storage, parameters, "b"))
    )
    assert source.remote is destination.remote
    assert (source.path, destination.path) == ("a", "b")
    assert (source.side, destination.side) == (Side.SOURCE, Side.DESTINATION)
    assert source.fs != destination.fs


def test_same_nextcloud_shares_one_remote_if_its_paths_are_in_the_urls() -> None:
    source, destination = remote_paths(
        TransferRequest(
            endpoint("webdav", "b", url=NEXTCLOUD + "/a"),
            endpoint("webdav", "c", url=NEXTCLOUD + "/a/b"),
        )
    )
    assert source.remote is destination.remote
    assert (source.path, destination.path) == ("a/b", "a/b/c")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (endpoint("sftp"), endpoint("sftp", port=2222)),
        (endpoint("sftp"), endpoint("sftp", user="bob")),
        (endpoint("sftp"), endpoint("sftp", **{"pass": "another"})),
        (endpoint("sftp"), endpoint("ftp", host="sftp.example.org")),
        (endpoint("s3"), endpoint("s3", region="eu")),
        (endpoint("s3"), endpoint("s3", endpoint="https://s3.example.com")),
        (endpoint("webdav"), endpoint("webdav", url="https://dav.example.org/home2")),
    ],
)
def test_any_difference_makes_two_remotes(one: Endpoint, other: Endpoint) -> None:
    source, destination = remote_paths(TransferRequest(one, other))
    assert source.remote.name != destination.remote.name
    assert source.fs.partition(":")[0] != destination.fs.partition(":")[0]


@pytest.mark.parametrize("path", ["a:b", ":local:/etc", "a,type=local:/etc", "/etc", "..b", ""])
@pytest.mark.parametrize("storage", MINIMUM)
def test_no_path_can_select_another_remote(storage: str, path: str) -> None:
    source, destination = remote_paths(
        TransferRequest(endpoint(storage, path), endpoint(storage, path))
    )
    for found in (source, destination):
        for fs in (found.fs, found.parent):
            name, _, _ = fs.partition(":")
            assert name == found.remote.name
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
def test_path_that_can_only_be_a_folder(storage: str, path: str, folder: bool) -> None:
    assert remote_path(storage, path).is_folder is folder


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
def test_path_has_a_parent_and_a_name(storage: str, path: str, parent: str, name: str) -> None:
    found = remote_path(storage, path)
    assert (found.parent, found.name) == (parent, name)


def test_text_of_a_remote_shows_no_parameters() -> None:
    found = remote_path("sftp", "a", **{"pass": "canary-secret"})
    assert "canary" not in repr(found)
    assert "canary" not in str(found.remote)
    assert found.remote.name in repr(found)


@pytest.mark.parametrize("storage", ["sftp", "ftp"])
@pytest.mark.parametrize("host", ["2001:db8::1", "[2001:db8::1]"])
def test_ipv6_address_gets_brackets(storage: str, host: str) -> None:
    assert parameters_of(storage, host=host)["host"] == "[2001:db8::1]"


@pytest.mark.parametrize(
    ("storage", "name"),
    [("sftp", "ssh"), ("webdav", "bearer_token_command"), ("s3", "env_auth"), ("local", "nounc")],
)
def test_refused_parameter_raises_even_if_the_schema_let_it_through(
    storage: str, name: str
) -> None:
    with pytest.raises(EngineError, match="not allowed"):
        remote_paths(TransferRequest(Endpoint(storage, {name: "x"}, ""), endpoint("ftp")))


def test_extra_parameters_are_added_for_their_type_only() -> None:
    source, destination = remote_paths(
        TransferRequest(endpoint("sftp"), endpoint("s3")),
        lambda storage: {"socks_proxy": "127.0.0.1:1"} if storage == "sftp" else {},
    )
    assert source.remote.parameters["socks_proxy"] == "127.0.0.1:1"
    assert "socks_proxy" not in destination.remote.parameters
