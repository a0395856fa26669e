"""A site file is read whole, or refused with every mistake that it has."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from efss_transfer.cli import main
from efss_transfer.contract.schemas import schema
from efss_transfer.model.errors import InvalidSite
from efss_transfer.model.request import Limits
from efss_transfer.site import site_file

HASH = "a" * 64
S3 = {
    "type": "s3",
    "parameters": {
        "endpoint": "https://s3.example.org",
        "access_key_id": {"env": "ARCHIVE_KEY"},
        "secret_access_key": {"env": "ARCHIVE_SECRET"},
    },
    "root": "bucket",
    "use": ["destination"],
}
CLOUD = {
    "type": "webdav",
    "parameters": {"url": "https://cloud.example.org/remote.php/webdav"},
    "caller_parameters": ["user", "pass"],
}
TOKENS = {"mode": "tokens", "tokens": [{"caller": "alice", "sha256": HASH}]}


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHIVE_KEY", "key")
    monkeypatch.setenv("ARCHIVE_SECRET", "a secret that must not be shown")
    monkeypatch.delenv("NOT_THERE", raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "site.json"


def mistakes(file: Path, document: Any) -> list[tuple[str, str]]:
    """What is told of a site file: pointers and keywords."""
    file.write_text(json.dumps(document))
    with pytest.raises(InvalidSite) as refused:
        site_file.read(file)
    told = str(refused.value)
    for violation in refused.value.violations:
        assert violation.pointer in told
        assert violation.message in told
    assert "must not be shown" not in told
    return [(violation.pointer, violation.keyword) for violation in refused.value.violations]


def storage(**change: Any) -> dict[str, Any]:
    return {"storages": {"archive": {**S3, **change}}}


def with_parameters(**change: Any) -> dict[str, Any]:
    parameters: dict[str, Any] = {**S3["parameters"], **change}  # type: ignore[dict-item]
    return storage(parameters=parameters)


def test_every_member_of_a_site_file_is_read(file: Path) -> None:
    file.write_text(
        json.dumps(
            {
                "storages": {"archive": S3, "cloud": CLOUD},
                "allow": {"types": ["s3"], "hosts": ["*.Example.org"], "networks": ["10.0.0.0/8"]},
                "deny": {"types": ["ftp"], "hosts": ["x.example.org"], "networks": ["10.1.0.0/16"]},
                "egress_proxy": "http://proxy.example.org:3128",
                "notify": {"secret": {"env": "ARCHIVE_SECRET"}},
                "limits": {"files": 1, "bytes": 2, "duration_seconds": 3, "body_bytes": 4},
                "authentication": TOKENS,
                "callers": {"alice": {"storages": ["cloud"], "limits": {"files": 5}}},
            }
        )
    )
    read = site_file.read(file)
    assert read.storages["archive"].root == "bucket"
    assert read.storages["archive"].use == {"destination"}
    assert read.storages["cloud"].caller_parameters == {"user", "pass"}
    assert read.allowed_types == frozenset({"s3"})
    assert read.denied_types == {"ftp"}
    assert read.egress_rules.hosts == ("*.example.org",)
    assert [str(network) for network in read.egress_rules.networks] == ["10.0.0.0/8"]
    assert read.notify_secret == {"env": "ARCHIVE_SECRET"}
    assert read.egress_proxy == "http://proxy.example.org:3128"
    assert read.limits == Limits(files=1, bytes=2, duration_seconds=3)
    assert read.settings() == {"DURATION_SECONDS": 3, "BODY_BYTES": 4}
    alice = read.caller("alice")
    assert alice is not None
    assert alice.storages == frozenset({"cloud"})
    assert alice.limits.files == 5
    assert read.caller("bob") is None


def test_empty_site_file_has_strict_defaults(file: Path) -> None:
    file.write_text("{}")
    assert site_file.read(file) == site_file.Site()
    assert site_file.Site().egress_rules.hosts is None
    assert site_file.Site().egress_rules.networks == ()
    assert site_file.Site().authentication == {"mode": "none"}


def test_star_applies_to_callers_without_an_entry(file: Path) -> None:
    file.write_text(
        json.dumps({"authentication": TOKENS, "callers": {"*": {"types": []}, "alice": {}}})
    )
    read = site_file.read(file)
    bob, alice = read.caller("bob"), read.caller("alice")
    assert bob is not None
    assert alice is not None
    assert bob.types == frozenset()
    assert alice.types is None


def test_schema_examples_are_valid_site_files(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for example in schema("site")["examples"]:
        text = json.dumps(example).replace('{"file": "/run/secrets/archive"}', '{"env": "PATH"}')
        file.write_text(text)
        site_file.read(file)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ([], ("", "type")),
        ({"storage": {}}, ("/storage", "unevaluatedProperties")),
        ({"storages": {"a b": S3}}, ("/storages", "pattern")),
        (storage(type="local"), ("/storages/archive/type", "enum")),
        (storage(root="a/../b"), ("/storages/archive/root", "pattern")),
        (storage(use=["sauce"]), ("/storages/archive/use/0", "enum")),
        (storage(use=[]), ("/storages/archive/use", "minItems")),
        (
            with_parameters(secret_access_key="inline"),
            ("/storages/archive/parameters/secret_access_key", "reference"),
        ),
        (
            with_parameters(secret_access_key={"env": "NOT_THERE"}),
            ("/storages/archive/parameters/secret_access_key", "secret"),
        ),
        (
            with_parameters(secret_access_key={"file": "/nonexistent/secret"}),
            ("/storages/archive/parameters/secret_access_key", "secret"),
        ),
        (
            with_parameters(secret_access_key={"env": "ARCHIVE_KEY", "file": "/etc/hosts"}),
            ("/storages/archive/parameters/secret_access_key", "reference"),
        ),
        (
            with_parameters(secret_access_key={}),
            ("/storages/archive/parameters/secret_access_key", "anyOf"),
        ),
        (
            with_parameters(secret_access_key={"vault": "x"}),
            ("/storages/archive/parameters/secret_access_key/vault", "unevaluatedProperties"),
        ),
        (
            with_parameters(env_auth=True),
            ("/storages/archive/parameters/env_auth", "unevaluatedProperties"),
        ),
        (
            with_parameters(endpoint="https://a@b"),
            ("/storages/archive/parameters/endpoint", "pattern"),
        ),
        (
            with_parameters(endpoint="https://0x7f.1"),
            ("/storages/archive/parameters/endpoint", "format"),
        ),
        (
            storage(caller_parameters=["endpoint"]),
            ("/storages/archive/caller_parameters/0", "policy"),
        ),
        (
            storage(caller_parameters=["env_auth"]),
            ("/storages/archive/caller_parameters/0", "reference"),
        ),
        (
            storage(caller_parameters=["access_key_id"]),
            ("/storages/archive/caller_parameters/0", "reference"),
        ),
        ({"storages": {"c": {**CLOUD, "parameters": {}}}}, ("/storages/c/parameters", "required")),
        ({"allow": {"types": ["local"]}}, ("/allow/types/0", "enum")),
        ({"allow": {"hosts": ["https://x"]}}, ("/allow/hosts/0", "pattern")),
        ({"allow": {"hosts": ["*"]}}, ("/allow/hosts/0", "pattern")),
        ({"allow": {"networks": ["10.0.0.1/8"]}}, ("/allow/networks/0", "format")),
        ({"deny": {"networks": ["10.0.0.0/33"]}}, ("/deny/networks/0", "format")),
        ({"allow": {"everything": True}}, ("/allow/everything", "unevaluatedProperties")),
        ({"egress_proxy": "socks5://proxy:1"}, ("/egress_proxy", "pattern")),
        ({"egress_proxy": "http://user:secret@proxy:1"}, ("/egress_proxy", "pattern")),
        ({"limits": {"files": 0}}, ("/limits/files", "minimum")),
        ({"limits": {"files": "many"}}, ("/limits/files", "type")),
        ({"authentication": {}}, ("/authentication", "required")),
        ({"authentication": {"mode": "basic"}}, ("/authentication/mode", "enum")),
        ({"authentication": {"mode": "tokens"}}, ("/authentication", "required")),
        ({"authentication": {"mode": "oidc"}}, ("/authentication", "required")),
        ({"authentication": {**TOKENS, "issuer": "https://x"}}, ("/authentication/issuer", "mode")),
        (
            {"authentication": {"mode": "tokens", "tokens": [{"caller": "a", "sha256": "x"}]}},
            ("/authentication/tokens/0/sha256", "pattern"),
        ),
        (
            {
                "authentication": {
                    "mode": "oidc",
                    "issuer": "http://sso.example.org",
                    "audience": ["a"],
                }
            },
            ("/authentication/issuer", "pattern"),
        ),
        (
            {
                "authentication": {
                    "mode": "oidc",
                    "issuer": "https://sso.example.org",
                    "audience": ["a"],
                    "algorithms": ["HS256"],
                }
            },
            ("/authentication/algorithms/0", "enum"),
        ),
        ({"callers": {}}, ("/callers", "mode")),
        (
            {"authentication": TOKENS, "callers": {"bob": {}}},
            ("/authentication/tokens/0/caller", "reference"),
        ),
        (
            {"authentication": TOKENS, "callers": {"alice": {"storages": ["archive"]}}},
            ("/callers/alice/storages/0", "reference"),
        ),
    ],
)
def test_mistake_is_reported_with_its_pointer(
    file: Path, document: Any, expected: tuple[str, str]
) -> None:
    told = mistakes(file, document)
    assert expected in told
    # What is said besides is about the same place.
    assert {pointer for pointer, _ in told} <= {expected[0], expected[0].rpartition("/")[0]}


def test_all_mistakes_are_reported_together(file: Path) -> None:
    document = {
        "storages": {
            "a": {**S3, "parameters": {"env_auth": True}},
            "b": {**CLOUD, "parameters": {}},
        },
        "allow": {"networks": ["10.0.0.1/8"]},
        "callers": {},
    }
    assert {pointer for pointer, _ in mistakes(file, document)} == {
        "/allow/networks/0",
        "/callers",
        "/storages/a/parameters",
        "/storages/a/parameters/env_auth",
        "/storages/b/parameters",
    }


@pytest.mark.parametrize("text", ["", "{", "[1", '{"a": 1, "a": 2}', "\x00"])
def test_invalid_json_is_reported(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(InvalidSite):
        site_file.read(file)


def test_missing_file_is_reported(file: Path) -> None:
    with pytest.raises(InvalidSite, match="No such file"):
        site_file.read(file)


def test_site_check_summarises_a_valid_file(file: Path) -> None:
    file.write_text(json.dumps({"storages": {"archive": S3}, "authentication": TOKENS}))
    told = CliRunner().invoke(main.main, ["site", "check", str(file)])
    assert told.exit_code == 0, told.output
    assert "valid" in told.output
    assert "storage archive" in told.output
    assert re.search(r"callers +tokens, all\n", told.output)
    told = CliRunner().invoke(main.main, ["site", "check", "--json", str(file)])
    assert json.loads(told.output) == {"valid": True, "errors": [], "missing": []}


def test_site_check_lists_every_mistake(file: Path) -> None:
    file.write_text(json.dumps({"callers": {}, "limits": {}, "allow": {"networks": ["::/129"]}}))
    told = CliRunner().invoke(main.main, ["site", "check", str(file)])
    assert told.exit_code == 1
    assert "/callers" in told.output
    assert "/allow/networks/0" in told.output
    assert "Traceback" not in told.output
    told = CliRunner().invoke(main.main, ["site", "check", "--json", str(file)])
    assert told.exit_code == 1
    document = json.loads(told.stdout)
    assert not document["valid"]
    assert [error["pointer"] for error in document["errors"]] == ["/allow/networks/0", "/callers"]


def test_missing_secret_stops_the_start_but_is_no_mistake(file: Path) -> None:
    file.write_text(json.dumps(with_parameters(access_key_id={"env": "NOT_THERE"})))
    with pytest.raises(InvalidSite, match="It has no mistakes, but this machine lacks secrets"):
        site_file.read(file)
    assert site_file.read(file, may_lack_secrets=True).storages["archive"].type == "s3"
    wrong = with_parameters(access_key_id={"env": "NOT_THERE"}, endpoint=7)
    file.write_text(json.dumps(wrong))
    with pytest.raises(InvalidSite):
        site_file.read(file, may_lack_secrets=True)


def test_files_that_systemd_will_load_are_looked_for_in_a_folder(
    file: Path, tmp_path: Path
) -> None:
    reference = {"file": "/run/credentials/efss-transfer.service/archive"}
    file.write_text(json.dumps(with_parameters(secret_access_key=reference)))
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "archive").write_text("")
    with pytest.raises(InvalidSite, match="is empty"):
        site_file.read(file, credentials=folder)
    (folder / "archive").write_text("hush")
    read = site_file.read(file, credentials=folder)
    kept = {"file": str(folder / "archive")}
    assert read.storages["archive"].parameters["secret_access_key"] == kept


def test_site_check_tells_missing_secrets_apart_from_mistakes(file: Path) -> None:
    document = with_parameters(access_key_id={"env": "NOT_THERE"})
    file.write_text(json.dumps(document))
    told = CliRunner().invoke(main.main, ["site", "check", str(file)])
    assert told.exit_code == 0
    assert "Secrets missing on this machine" in told.stderr
    assert "The environment variable NOT_THERE is not set." in told.stderr
    assert "valid" in told.stdout
    strict = CliRunner().invoke(main.main, ["site", "check", "--require-secrets", str(file)])
    assert strict.exit_code == 3
    file.write_text(json.dumps({**document, "callers": {}}))
    both = CliRunner().invoke(main.main, ["site", "check", "--json", str(file)])
    assert both.exit_code == 1
    shown = json.loads(both.stdout)
    assert [it["pointer"] for it in shown["errors"]] == ["/callers"]
    assert [it["keyword"] for it in shown["missing"]] == ["secret"]
    told = CliRunner().invoke(main.main, ["site", "check", str(file)])
    assert "1 mistake\n  /callers: " in told.stderr


def test_site_check_passes_on_the_example_of_the_docs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ARCHIVE_KEY_ID", raising=False)
    example = Path(__file__).parents[3] / "deploy" / "site.example.json"
    told = CliRunner().invoke(main.main, ["site", "check", str(example)])
    assert told.exit_code == 0, told.output
    assert "mistakes" not in told.stdout
    assert "The environment variable ARCHIVE_KEY_ID is not set." in told.stderr


def test_site_check_uses_the_configured_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("{}")
    monkeypatch.setenv("EFSS_TRANSFER_SITE", str(file))
    assert CliRunner().invoke(main.main, ["site", "check"]).exit_code == 0


@pytest.mark.parametrize("words", [["--help"], ["site", "--help"], ["site", "check", "--help"]])
def test_every_command_has_help(words: list[str]) -> None:
    told = CliRunner().invoke(main.main, words)
    assert told.exit_code == 0
    assert "Usage:" in told.output


def test_missing_file_is_a_usage_error(file: Path) -> None:
    assert CliRunner().invoke(main.main, ["site", "check", str(file)]).exit_code == 2


@pytest.mark.parametrize(
    ("notify", "pointer", "keyword"),
    [
        ({}, "/notify", "required"),
        ({"secret": "whsec_in-plain-sight"}, "/notify/secret", "type"),
        ({"secret": {}}, "/notify/secret", "anyOf"),
        ({"secret": {"env": "NOT_THERE"}}, "/notify/secret", "secret"),
        ({"secret": {"env": "ARCHIVE_KEY", "file": "/x"}}, "/notify/secret", "reference"),
        ({"secret": {"file": "/nowhere/at/all"}}, "/notify/secret", "secret"),
        (
            {"secret": {"env": "ARCHIVE_KEY"}, "url": "https://x.org"},
            "/notify/url",
            "unevaluatedProperties",
        ),
    ],
)
def test_mistake_in_notify_is_reported(file: Path, notify: Any, pointer: str, keyword: str) -> None:
    assert mistakes(file, {"notify": notify}) == [(pointer, keyword)]


def shares(**changes: Any) -> dict[str, Any]:
    """A storage of shares, whose callers bring the share and the site its key."""
    parameters = {
        "client_id": "cloud.example.org",
        "signing_key": {"env": "ARCHIVE_KEY"},
        "signing_key_id": "cloud.example.org#key1",
    }
    members = {"type": "ocm", "parameters": parameters, "use": ["source"]}
    return {"storages": {"shares": {**members, **changes}}}


def test_callers_bring_a_share_with_its_address_and_secret_together(file: Path) -> None:
    whole = ["sender", "uri", "sharedSecret", "requirements"]
    file.write_text(json.dumps(shares(caller_parameters=whole)))
    assert site_file.read(file).storages["shares"].caller_parameters == set(whole)
    held = {"sender": "cloud.example.org", "sharedSecret": {"env": "ARCHIVE_SECRET"}}
    document = shares(parameters=held, caller_parameters=["uri"])
    assert mistakes(file, document) == [("/storages/shares/caller_parameters/0", "policy")]
