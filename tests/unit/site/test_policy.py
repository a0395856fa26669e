"""A copy onto itself, or into itself, is refused; everything else is let through.

A place that is written in two ways is still one place. Every request here goes through
the schema first, as a caller's would.
"""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any, ClassVar, cast

import pytest

from efss_transfer.contract.request_parser import parse
from efss_transfer.egress import addresses
from efss_transfer.egress.rules import EgressRules
from efss_transfer.engines.base import Engine
from efss_transfer.model import targets
from efss_transfer.model.errors import Forbidden, InvalidRequest, Unreachable
from efss_transfer.site import policy
from efss_transfer.site.policy import AdmittedRequest
from efss_transfer.site.site_file import Caller, Site, SiteStorage
from efss_transfer.site.storages import Storages
from support.ssrf_spellings import SPELLINGS, TRICKS

KEYS = {"access_key_id": "key", "secret_access_key": "secret"}
DAV = "https://cloud.example.org/remote.php/dav/files/alice"


def webdav(path: str = "", url: str = DAV, **more: Any) -> dict[str, Any]:
    return {"type": "webdav", "parameters": {"url": url, **more}, "path": path}


def s3(path: str = "", endpoint: str = "https://s3.example.org", **more: Any) -> dict[str, Any]:
    return {"type": "s3", "parameters": {"endpoint": endpoint, **KEYS, **more}, "path": path}


def aws(path: str, **parameters: Any) -> dict[str, Any]:
    return {"type": "s3", "parameters": {**KEYS, **parameters}, "path": path}


def sftp(path: str = "", **more: Any) -> dict[str, Any]:
    parameters = {"host": "files.example.org", "user": "alice", "pass": "secret", **more}
    return {"type": "sftp", "parameters": parameters, "path": path}


def ftp(path: str = "", **more: Any) -> dict[str, Any]:
    return {**sftp(path, **more), "type": "ftp"}


def smb(path: str = "share", **more: Any) -> dict[str, Any]:
    parameters = {"host": "smb.example.org", "user": "alice", "pass": "secret", **more}
    return {"type": "smb", "parameters": parameters, "path": path}


def gcs(path: str = "", **more: Any) -> dict[str, Any]:
    parameters = {"anonymous": True, **more}
    return {"type": "google cloud storage", "parameters": parameters, "path": path}


class OnPaper:
    """As much of an engine as the policy asks for."""

    name = "rclone"
    unguarded: ClassVar[dict[str, str | None]] = {"smb": "host", "hdfs": None}


NAMES: dict[str, list[str]] = {
    "inside.example.org": ["10.0.0.1"],
    "both.example.org": ["8.8.8.8", "127.0.0.1"],
    "metadata.example.org": ["::ffff:169.254.169.254"],
}


@pytest.fixture(autouse=True)
def resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that are known here, and 8.8.8.8 for all others."""
    real = addresses.resolve

    def resolve(host: str) -> list[targets.Address]:
        if host.endswith(".invalid"):
            return []
        if "example" not in host:
            return real(host)
        return [ip_address(text) for text in NAMES.get(host, ["8.8.8.8"])]

    monkeypatch.setattr(addresses, "resolve", resolve)


def admit(
    source: dict[str, Any],
    destination: dict[str, Any],
    site: Site | None = None,
    caller: Caller | None = None,
    **members: Any,
) -> AdmittedRequest:
    """What the service does with a request before it starts anything."""
    site, caller = site or Site(), caller or Caller()
    storages = Storages(site)
    asked = parse(
        json.dumps({"source": source, "destination": destination, **members}).encode(),
        lambda side, document: storages.endpoint(caller, side, document),
    )
    return policy.admit(asked, site, caller, cast(Engine, OnPaper()))


def check(source: dict[str, Any], destination: dict[str, Any]) -> None:
    admit(source, destination)


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
    "all buckets into one": (s3(), s3("bucket")),
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
def test_a_place_is_not_copied_onto_itself_however_it_is_spelt(name: str) -> None:
    one, other = ONE_PLACE[name]
    assert refused(one, other)
    assert refused(other, one)


@pytest.mark.parametrize("name", INTO_ITSELF)
def test_a_folder_is_not_copied_into_itself_but_out_of_itself_it_is(name: str) -> None:
    folder, below = INTO_ITSELF[name]
    assert refused(folder, below)
    assert not refused(below, folder)


@pytest.mark.parametrize("name", TWO_PLACES)
def test_two_places_are_let_through_however_alike_they_are(name: str) -> None:
    assert not refused(*TWO_PLACES[name])


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
def test_an_address_that_is_none_is_the_callers_mistake(make: Any, url: str) -> None:
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


@pytest.mark.parametrize("text", SPELLINGS)
@pytest.mark.parametrize(
    ("make", "member"), [(webdav, "url"), (s3, "endpoint"), (gcs, "endpoint"), (sftp, "host")]
)
def test_no_spelling_of_a_host_inside_gets_through(make: Any, member: str, text: str) -> None:
    value = text if member == "host" else f"http://{text}/"
    end = make("a", **{member: value})
    assert named(end, ftp("b")) == [f"/source/parameters/{member}"]
    assert named(ftp("b"), end) == [f"/destination/parameters/{member}"]


@pytest.mark.parametrize("text", TRICKS)
def test_nor_any_that_two_programs_read_in_two_ways(text: str) -> None:
    for end in (webdav("a", f"http://{text}/"), s3("a", text), sftp("a", host=text)):
        with pytest.raises((Forbidden, InvalidRequest)):
            admit(end, ftp("b"))


@pytest.mark.parametrize("name", NAMES)
def test_a_name_with_one_address_inside_is_refused(name: str) -> None:
    assert refusals(webdav("a", f"https://{name}/dav"), ftp("b")) == ["/source/parameters/url"]
    assert refusals(ftp("b"), sftp("a", host=name)) == ["/destination/parameters/host"]


def test_both_ends_are_told_at_once() -> None:
    assert refusals(webdav("a", "http://127.0.0.1"), sftp("b", host="10.0.0.1")) == [
        "/source/parameters/url",
        "/destination/parameters/host",
    ]


def test_the_address_within_a_service_account_is_looked_at() -> None:
    account = {"type": "service_account", "token_uri": "http://metadata.example.org/token"}
    end = {"service_account_credentials": json.dumps(account), "path": "b"}
    source = {
        "type": "google cloud storage",
        "parameters": {"service_account_credentials": end["service_account_credentials"]},
        "path": "b",
    }
    assert refusals(source, ftp("b")) == ["/source/parameters/service_account_credentials"]


def test_what_the_site_allows_may_be_reached_and_nothing_else() -> None:
    egress = admit(webdav("a", "http://127.0.0.1:8080"), ftp("b"), LOOPBACK).egress
    assert egress.permits("127.0.0.1", 8080, ip_address("127.0.0.1"))
    assert egress.permits("x.example.org", 443, ip_address("8.8.8.8"))
    assert not egress.permits("x.example.org", 443, ip_address("10.0.0.1"))
    assert egress.proxy is None


def test_a_name_without_an_address_is_left_to_the_guard() -> None:
    admit(webdav("a", "https://cloud.invalid"), ftp("b"))


def test_types_are_the_sites_and_the_callers_to_choose() -> None:
    only = Site(allowed_types=frozenset({"webdav"}))
    assert refusals(webdav("a"), ftp("b"), only) == ["/destination/type"]
    denied = Site(denied_types=frozenset({"ftp"}), allowed_types=frozenset({"webdav", "ftp"}))
    assert refusals(webdav("a"), ftp("b"), denied) == ["/destination/type"]
    alice = Caller(types=frozenset({"ftp"}))
    assert refusals(webdav("a"), ftp("b"), caller=alice) == ["/source/type"]


def test_a_type_that_dials_past_the_guard_gets_an_address_and_no_name() -> None:
    admitted = admit(smb("share/a"), ftp("b"))
    assert admitted.request.source.parameters["host"] == "8.8.8.8"
    assert refusals(smb("share", host="both.example.org"), ftp("b")) == ["/source/parameters/host"]
    with pytest.raises(Unreachable):
        admit(smb("share", host="smb.invalid"), ftp("b"))


def test_a_type_that_dials_whom_it_is_told_to_must_be_allowed_by_its_name() -> None:
    end = {"type": "hdfs", "parameters": {"namenode": "nn.example.org:8020", "username": "a"}}
    assert refusals({**end, "path": "a"}, ftp("b")) == ["/source/type"]
    site = Site(allowed_types=frozenset({"hdfs", "ftp"}))
    admit({**end, "path": "a"}, ftp("b"), site)


def test_with_an_egress_proxy_nothing_goes_past_it() -> None:
    site = Site(egress_proxy="http://proxy.example.org:3128", allowed_types=None)
    assert refusals(smb("share"), ftp("b"), site) == ["/source/type"]
    assert admit(webdav("a"), ftp("b"), site).egress.proxy == "http://proxy.example.org:3128"
    assert refusals(webdav("a", "http://127.0.0.1"), ftp("b"), site) == ["/source/parameters/url"]


def test_a_storage_of_the_sites_may_be_inside() -> None:
    storage = SiteStorage("cloud", "webdav", {"url": "http://inside.example.org/dav"})
    site = Site(storages={"cloud": storage}, allowed_types=frozenset({"ftp"}))
    admitted = admit({"storage": "cloud", "path": "a"}, ftp("b"), site)
    assert admitted.egress.permits("inside.example.org", 80, ip_address("10.0.0.1"))
    assert not admitted.egress.permits("inside.example.org", 22, ip_address("10.0.0.1"))
    # That one request may go there does not mean that another may.
    assert refusals(webdav("a", "http://inside.example.org/dav"), ftp("b")) == [
        "/source/parameters/url"
    ]


def test_a_storage_of_the_sites_that_is_denied_is_named_without_its_address() -> None:
    storage = SiteStorage("cloud", "webdav", {"url": "http://inside.example.org/dav"})
    rules = EgressRules(denied_networks=(ip_network("10.0.0.0/8"),))
    site = Site(storages={"cloud": storage}, egress_rules=rules)
    assert refusals({"storage": "cloud", "path": "a"}, ftp("b"), site) == ["/source/storage"]


def test_a_service_that_no_parameter_names_is_a_host_like_any_other() -> None:
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


def test_a_receiver_is_held_to_the_rules_for_hosts() -> None:
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


def test_a_site_without_a_secret_notifies_nobody() -> None:
    assert why_nobody_is_told("https://hooks.example.org", Site()) == ["/notify"]
    with pytest.raises(Forbidden) as refused:
        admit(webdav("a"), s3("b"), Site(), notify={"url": "https://hooks.example.org"})
    assert "notify.secret" in refused.value.violations[0].message


def test_a_receiver_is_not_looked_up_where_it_is_refused_anyway(
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
def test_a_receiver_that_is_no_host_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        admit(webdav("a"), s3("b"), SIGNED, notify={"url": url})
    assert [violation.pointer for violation in refused.value.violations] == ["/notify/url"]


def test_where_a_storage_of_the_sites_stands_nobody_is_notified() -> None:
    """The site's own storages may be inside; what a request POSTs is none of theirs."""
    own = SiteStorage("own", "webdav", {"url": "http://10.0.0.1:8080"})
    site = replace(SIGNED, storages={"own": own})
    end = {"storage": "own", "path": "a"}
    admit(end, s3("b"), site)
    with pytest.raises(Forbidden) as refused:
        admit(end, s3("b"), site, notify={"url": "http://10.0.0.1:8080/x"})
    assert [violation.pointer for violation in refused.value.violations] == ["/notify/url"]
