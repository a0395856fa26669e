"""What the site's policy refuses, and which member the refusal names."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from efss_transfer.egress import addresses
from efss_transfer.egress.rules import EgressRules
from efss_transfer.model import targets
from efss_transfer.model.errors import Forbidden, InvalidRequest, Unreachable
from efss_transfer.site.site_file import Caller, Site, SiteStorage
from support.admission import NAMES, admit, aws, check, ftp, gcs, s3, sftp, smb, webdav
from support.ssrf_spellings import SPELLINGS, TRICKS


@pytest.mark.parametrize(
    "url",
    [
        "https://cloud.example.org:99999/dav",
        "https://cloud.example.org:http/dav",
        "https://cloud.example.org:-1/dav",
        "https://cloud.example.org:443:443/dav",
        "https://cloud.example.org:٤٤٣/dav",
        "https://[2001:db8::1/dav",
        "https://[cloud.example.org]/dav",
        # Its one letter stands for `a/c`, which a resolver may take at its word.
        "https://cloud.example.org\u2100/dav",
    ],
)
@pytest.mark.parametrize("make", [webdav, s3, gcs], ids=["webdav", "s3", "google"])
def test_unparsable_host_is_an_invalid_request(make: Any, url: str) -> None:
    end = make("a", **{"url" if make is webdav else "endpoint": url})
    with pytest.raises(InvalidRequest):
        check(end, sftp("a"))
    with pytest.raises(InvalidRequest):
        check(sftp("a"), end)


def refusals(
    source: dict[str, Any],
    destination: dict[str, Any],
    site: Site | None = None,
    caller: Caller | None = None,
) -> list[str]:
    """The members that a site does not allow."""
    with pytest.raises(Forbidden) as error:
        admit(source, destination, site, caller)
    assert {violation.keyword for violation in error.value.violations} == {"policy"}
    return [violation.pointer for violation in error.value.violations]


def named(source: dict[str, Any], destination: dict[str, Any]) -> list[str]:
    """The members for which a request is refused, as a mistake or by the policy."""
    try:
        admit(source, destination)
    except (Forbidden, InvalidRequest) as error:
        return [violation.pointer for violation in error.violations]
    return []


LOOPBACK = Site(egress_rules=EgressRules(networks=(ip_network("127.0.0.0/8"),)))


@pytest.mark.parametrize(
    ("make", "member"), [(webdav, "url"), (s3, "endpoint"), (gcs, "endpoint"), (sftp, "host")]
)
def test_no_spelling_of_a_private_host_is_admitted(make: Any, member: str) -> None:
    for text in SPELLINGS:
        end = make("a", **{member: text if member == "host" else f"http://{text}/"})
        assert named(end, ftp("b")) == [f"/source/parameters/{member}"], text
        assert named(ftp("b"), end) == [f"/destination/parameters/{member}"], text


@pytest.mark.parametrize("text", TRICKS)
def test_ambiguous_host_is_refused(text: str) -> None:
    for end in (webdav("a", f"http://{text}/"), s3("a", text), sftp("a", host=text)):
        with pytest.raises((Forbidden, InvalidRequest)):
            admit(end, ftp("b"))


@pytest.mark.parametrize("name", NAMES)
def test_name_with_one_private_address_is_refused(name: str) -> None:
    assert refusals(webdav("a", f"https://{name}/dav"), ftp("b")) == ["/source/parameters/url"]
    assert refusals(ftp("b"), sftp("a", host=name)) == ["/destination/parameters/host"]


def test_both_endpoints_are_reported_together() -> None:
    assert refusals(webdav("a", "http://127.0.0.1"), sftp("b", host="10.0.0.1")) == [
        "/source/parameters/url",
        "/destination/parameters/host",
    ]


def test_url_in_a_service_account_is_checked() -> None:
    account = {"type": "service_account", "token_uri": "http://metadata.example.org/token"}
    end = {"service_account_credentials": json.dumps(account), "path": "b"}
    source = {
        "type": "google cloud storage",
        "parameters": {"service_account_credentials": end["service_account_credentials"]},
        "path": "b",
    }
    assert refusals(source, ftp("b")) == ["/source/parameters/service_account_credentials"]


def test_only_allowed_networks_are_admitted() -> None:
    egress = admit(webdav("a", "http://127.0.0.1:8080"), ftp("b"), LOOPBACK).egress
    assert egress.permits("127.0.0.1", 8080, ip_address("127.0.0.1"))
    assert egress.permits("x.example.org", 443, ip_address("8.8.8.8"))
    assert not egress.permits("x.example.org", 443, ip_address("10.0.0.1"))
    assert egress.proxy is None


def test_name_without_an_address_is_admitted() -> None:
    admit(webdav("a", "https://cloud.invalid"), ftp("b"))


def test_types_are_limited_by_site_and_caller() -> None:
    only = Site(allowed_types=frozenset({"webdav"}))
    assert refusals(webdav("a"), ftp("b"), only) == ["/destination/type"]
    denied = Site(denied_types=frozenset({"ftp"}), allowed_types=frozenset({"webdav", "ftp"}))
    assert refusals(webdav("a"), ftp("b"), denied) == ["/destination/type"]
    alice = Caller(types=frozenset({"ftp"}))
    assert refusals(webdav("a"), ftp("b"), caller=alice) == ["/source/type"]


def test_unguarded_type_gets_the_checked_address() -> None:
    admitted = admit(smb("share/a"), ftp("b"))
    assert admitted.request.source.parameters["host"] == "8.8.8.8"
    assert refusals(smb("share", host="both.example.org"), ftp("b")) == ["/source/parameters/host"]
    with pytest.raises(Unreachable):
        admit(smb("share", host="smb.invalid"), ftp("b"))


def test_uncheckable_type_must_be_allowed_by_name() -> None:
    end = {"type": "hdfs", "parameters": {"namenode": "nn.example.org:8020", "username": "a"}}
    assert refusals({**end, "path": "a"}, ftp("b")) == ["/source/type"]
    site = Site(allowed_types=frozenset({"hdfs", "ftp"}))
    admit({**end, "path": "a"}, ftp("b"), site)


def test_unguarded_types_are_refused_with_an_egress_proxy() -> None:
    site = Site(egress_proxy="http://proxy.example.org:3128", allowed_types=None)
    assert refusals(smb("share"), ftp("b"), site) == ["/source/type"]
    assert admit(webdav("a"), ftp("b"), site).egress.proxy == "http://proxy.example.org:3128"
    assert refusals(webdav("a", "http://127.0.0.1"), ftp("b"), site) == ["/source/parameters/url"]


def test_site_storage_may_have_a_private_address() -> None:
    storage = SiteStorage("cloud", "webdav", {"url": "http://inside.example.org/dav"})
    site = Site(storages={"cloud": storage}, allowed_types=frozenset({"ftp"}))
    admitted = admit({"storage": "cloud", "path": "a"}, ftp("b"), site)
    assert admitted.egress.permits("inside.example.org", 80, ip_address("10.0.0.1"))
    assert not admitted.egress.permits("inside.example.org", 22, ip_address("10.0.0.1"))
    # That one request may go there does not mean that another may.
    assert refusals(webdav("a", "http://inside.example.org/dav"), ftp("b")) == [
        "/source/parameters/url"
    ]


INSIDE = ip_address("10.0.0.1")
HOST = "inside.example.org"
OWN: dict[str, SiteStorage] = {
    "cloud": SiteStorage("cloud", "webdav", {"url": f"http://{HOST}:8080/dav"}),
    "files": SiteStorage("files", "sftp", {"host": HOST, "user": "a", "pass": "b"}),
    "drop": SiteStorage("drop", "ftp", {"host": HOST, "user": "a", "pass": "b"}),
    "any-port": SiteStorage(
        "any-port", "sftp", {"host": HOST, "user": "a", "pass": "b"}, frozenset({"port"})
    ),
}
OWN_SITE = Site(storages=OWN)


@pytest.mark.parametrize(
    "end",
    [
        webdav("a", f"http://{HOST}:8080/dav"),
        webdav("a", f"http://{HOST.upper()}.:8080/dav", user="mallory", **{"pass": "x"}),
        webdav("a", f"http://{HOST}/dav"),
        webdav("a", "http://10.0.0.1:8080/dav"),
        s3("b/a", f"http://{HOST}:8080"),
        sftp("a", host=HOST),
        ftp("a", host=HOST, port=8080),
        smb("share/a", host=HOST),
    ],
    ids=["same URL", "credentials", "port", "address", "s3", "sftp", "ftp", "smb"],
)
@pytest.mark.parametrize("name", ["cloud", "files", "drop"])
def test_naming_a_site_storage_does_not_open_its_host_to_the_other_end(
    end: dict[str, Any], name: str
) -> None:
    member = next(key for key in end["parameters"] if key in ("url", "endpoint", "host"))
    own = {"storage": name, "path": "own"}
    assert refusals(own, end, OWN_SITE) == [f"/destination/parameters/{member}"]
    assert refusals(end, own, OWN_SITE) == [f"/source/parameters/{member}"]


def test_site_that_allows_the_host_admits_it_at_both_ends() -> None:
    allowed = replace(OWN_SITE, egress_rules=EgressRules(networks=(ip_network("10.0.0.0/8"),)))
    egress = admit({"storage": "cloud", "path": "a"}, sftp("b", host=HOST), allowed).egress
    for side in ("source", "destination"):
        assert egress.of(side).permits(HOST, 22, INSIDE)


@pytest.mark.parametrize(
    ("name", "ports", "others"),
    [("cloud", (8080,), (80, 22)), ("files", (22,), (80, 2222)), ("drop", (21, 40000), (22, 80))],
)
def test_site_storage_is_reached_from_its_own_side_at_its_own_ports(
    name: str, ports: tuple[int, ...], others: tuple[int, ...]
) -> None:
    egress = admit({"storage": name, "path": "a"}, webdav("b"), OWN_SITE).egress
    for port in ports:
        assert egress.of("source").permits(HOST, port, INSIDE)
        assert not egress.of("destination").permits(HOST, port, INSIDE)
        assert not egress.of("destination").permits_unresolved("10.0.0.1", port)
    for port in others:
        assert not egress.of("source").permits(HOST, port, INSIDE)


def test_port_that_a_caller_chooses_is_not_the_sites() -> None:
    end = {"storage": "any-port", "path": "a", "parameters": {"port": 25}}
    assert refusals(end, ftp("b"), OWN_SITE) == ["/source/parameters/port"]
    admit({"storage": "any-port", "path": "a"}, ftp("b"), OWN_SITE)


def test_denied_site_storage_is_reported_without_its_address() -> None:
    storage = SiteStorage("cloud", "webdav", {"url": "http://inside.example.org/dav"})
    rules = EgressRules(denied_networks=(ip_network("10.0.0.0/8"),))
    site = Site(storages={"cloud": storage}, egress_rules=rules)
    assert refusals({"storage": "cloud", "path": "a"}, ftp("b"), site) == ["/source/storage"]


def test_default_service_host_is_checked() -> None:
    only = Site(egress_rules=EgressRules(hosts=("8.8.8.8", "ftp.example.org")))
    assert refusals(aws("b/a"), ftp("b", host="8.8.8.8"), only) == ["/source/type"]
    assert refusals(gcs("b/a"), ftp("b", host="8.8.8.8"), only) == ["/source/type"]
    with_aws = Site(egress_rules=EgressRules(hosts=("8.8.8.8", "*.amazonaws.com")))
    admit(aws("b/a"), ftp("b", host="8.8.8.8"), with_aws)
    admit(aws("b/a"), ftp("b", host="8.8.8.8"))
    denied = Site(egress_rules=EgressRules(denied_hosts=("*.googleapis.com",)))
    assert refusals(gcs("b/a"), ftp("b", host="8.8.8.8"), denied) == ["/source/type"]


SIGNED = Site(notify_secret={"env": "X"})


def why_nobody_is_told(url: str, site: Site = SIGNED) -> list[str]:
    """Which members of a request that is fine otherwise are refused for its receiver."""
    try:
        admit(webdav("a"), s3("b"), site, notify={"url": url})
    except Forbidden as error:
        return [violation.pointer for violation in error.violations]
    return []


def test_receiver_is_checked_like_any_host() -> None:
    assert why_nobody_is_told("https://hooks.example.org/x?token=y") == []
    for url in (
        "http://127.0.0.1:8080/",
        "http://[::1]/",
        "http://[::ffff:169.254.169.254]/",
        "https://inside.example.org",
        "https://both.example.org",
    ):
        assert why_nobody_is_told(url) == ["/notify/url"]
    narrow = replace(SIGNED, egress_rules=EgressRules(hosts=("*.example.org",)))
    assert why_nobody_is_told("https://hooks.example.org", narrow) == []
    assert why_nobody_is_told("https://hooks.elsewhere.net", narrow) == ["/notify/url"]
    denied = replace(SIGNED, egress_rules=EgressRules(denied_hosts=("hooks.example.org",)))
    assert why_nobody_is_told("https://HOOKS.example.org.", denied) == ["/notify/url"]


def test_notify_is_refused_without_a_site_secret() -> None:
    assert why_nobody_is_told("https://hooks.example.org", Site()) == ["/notify"]
    with pytest.raises(Forbidden) as refused:
        admit(webdav("a"), s3("b"), Site(), notify={"url": "https://hooks.example.org"})
    assert "notify.secret" in refused.value.violations[0].message


def test_refused_receiver_is_not_looked_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def resolve(host: str) -> list[targets.Address]:
        asked.append(host)
        return [ip_address("8.8.8.8")]

    monkeypatch.setattr(addresses, "resolve", resolve)
    why_nobody_is_told("https://hooks.example.org", Site())
    narrow = replace(
        SIGNED, egress_rules=EgressRules(hosts=("cloud.example.org", "s3.example.org"))
    )
    why_nobody_is_told("https://hooks.example.org", narrow)
    inside = webdav("a", "http://127.0.0.1/")
    with pytest.raises(Forbidden):
        admit(inside, s3("b"), SIGNED, notify={"url": "https://hooks.example.org"})
    assert "hooks.example.org" not in asked


@pytest.mark.parametrize(
    "url", ["http://0x7f.1/", "http://127.1/", "http://a..b/", "http://h:99999/", "http://%6c/"]
)
def test_unparsable_receiver_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        admit(webdav("a"), s3("b"), SIGNED, notify={"url": url})
    assert [violation.pointer for violation in refused.value.violations] == ["/notify/url"]


def test_host_of_a_site_storage_cannot_receive_notifications() -> None:
    """The site's own storages may be inside; what a request POSTs is none of theirs."""
    own = SiteStorage("own", "webdav", {"url": "http://10.0.0.1:8080"})
    site = replace(SIGNED, storages={"own": own})
    end = {"storage": "own", "path": "a"}
    admit(end, s3("b"), site)
    with pytest.raises(Forbidden) as refused:
        admit(end, s3("b"), site, notify={"url": "http://10.0.0.1:8080/x"})
    assert [violation.pointer for violation in refused.value.violations] == ["/notify/url"]
