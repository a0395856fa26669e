"""Every option of every rclone backend is allowed or refused, and nothing else is accepted.

options.json has the decisions, and the request's schema repeats the allowed options. rclone
itself lists all options: a new release fails here until its new options are decided.
"""

from __future__ import annotations

import json
import queue
import re
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from efss_transfer.engines.rclone.rc.allowed_options import rclone_parameters
from efss_transfer.model.errors import EngineError
from efss_transfer.model.storage_traits import traits
from support.contract import complaints, schema

FILE = (
    Path(__file__).parents[5]
    / "functions"
    / "efss_transfer"
    / "engines"
    / "rclone"
    / "rc"
    / "options.json"
)
DECISIONS: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
BACKENDS: dict[str, dict[str, Any]] = DECISIONS["backends"]
ALLOWED = {name: it for name, it in BACKENDS.items() if it["decision"] == "allow"}
REFUSED = {name: it for name, it in BACKENDS.items() if it["decision"] == "refuse"}
OPTIONS = [
    (backend, option, it)
    for backend, entry in BACKENDS.items()
    for option, it in entry["options"].items()
]

# All options, and those that are allowed, refused and undecided.
COUNTS = (966, 189, 777, 0)

# Risks that no allowed option may have.
FORBIDDEN = {
    "exec_local",
    "local_file_read",
    "local_file_write",
    "ambient_creds",
    "wraps_remote",
    "local_disk",
    "local_unix_socket",
    "override",
    "config_state",
    "type_override",
    "tls_off",
    "header_injection",
}
EXCEPTIONS = {
    # Without it rclone uses the host's own user name; so the schema requires it.
    ("hdfs", "username"): {"ambient_creds"},
}

# The policy checks members of these forms: they name the host of a connection.
DIALLING = {
    f"#/$defs/{form}"
    for form in ("url", "authority", "host", "host_port", "sas_url", "service_account")
}
NAMES_A_HOST = re.compile(
    r"auth|token_source|(.*_)?(url|uri|endpoint|host|hostname|server|address|namenode)"
)
# These select a host, or become part of its name, and have an enum or a strict pattern.
SELECTS_A_HOST = {
    ("azureblob", "account"),
    ("azureblob", "tenant"),
    ("azurefiles", "account"),
    ("azurefiles", "tenant"),
    ("doi", "doi"),
    ("doi", "provider"),
    ("filescom", "site"),
    ("onedrive", "region"),
    ("onedrive", "tenant"),
    ("s3", "provider"),
    ("s3", "region"),
    ("zoho", "region"),
}
JSON_TYPES = {"bool": "boolean", "Tristate": "boolean", "int": "integer"}
SECRET_RISKS = {"plain_secret", "obscured_secret"}
SECRET_NAMES = re.compile(r".*(pass|password|secret|token|_key|key_pem|customer_key.*)|key")
NO_SECRET = {("sftp", "host_keys"), ("s3", "sse_kms_key_id")}

# sftp and ftp have a proxy option of their own; smb and hdfs connect directly.
NO_HTTP_PROXY = {"sftp", "ftp", "smb", "hdfs"}


def definition(backend: str) -> dict[str, Any]:
    found: dict[str, Any] = schema("request")["$defs"][pointer(backend).rpartition("/")[2]]
    return found


def pointer(backend: str) -> str:
    return f"/$defs/{backend.replace(' ', '_')}_parameters"


def resolved(member: dict[str, Any]) -> dict[str, Any]:
    """A member, with its form's keywords."""
    form = member.get("$ref", "").rpartition("/")[2]
    return {**schema("request")["$defs"].get(form, {}), **member}


def members() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for backend in ALLOWED:
        for name, member in definition(backend)["properties"].items():
            yield backend, name, member


def allowed_names(backend: str) -> set[str]:
    options = BACKENDS[backend]["options"]
    return {name for name, it in options.items() if it["decision"] == "allow"}


@pytest.fixture(scope="module")
def providers(rclone: Path) -> list[dict[str, Any]]:
    """rclone's list of its backends."""
    return list(json.loads(run(rclone, "config", "providers")))


def run(rclone: Path, *arguments: str) -> str:
    finished = subprocess.run(
        [rclone, "--config", "", *arguments], env={}, capture_output=True, check=True, timeout=120
    )
    return finished.stdout.decode()


def test_decisions_are_for_the_release_of_rclone_under_test(rclone: Path) -> None:
    assert run(rclone, "version").split()[1] == f"v{DECISIONS['rclone']}"


def test_exactly_the_options_of_rclone_are_decided(providers: list[dict[str, Any]]) -> None:
    existing = {(it["Name"], option["Name"]) for it in providers for option in it["Options"]}
    decided = {(backend, option) for backend, option, _ in OPTIONS}
    assert sorted(existing - decided) == [], "not decided"
    assert sorted(decided - existing) == [], "decided, but rclone no longer has them"
    assert {it["Name"] for it in providers} == set(BACKENDS)
    counts = (
        len(existing),
        sum(it["decision"] == "allow" for _, _, it in OPTIONS),
        sum(it["decision"] == "refuse" for _, _, it in OPTIONS),
        len(existing - decided),
    )
    print("{} options, {} allowed, {} refused, {} undecided".format(*counts))
    assert counts == COUNTS


def test_every_refusal_has_a_reason() -> None:
    entries = [*BACKENDS.values(), *DECISIONS["any"].values(), *(it for _, _, it in OPTIONS)]
    assert {it["decision"] for it in entries} == {"allow", "refuse"}
    assert all(it["why"] for it in entries if it["decision"] == "refuse")
    assert {it["decision"] for it in DECISIONS["any"].values()} == {"refuse"}


def test_refused_backend_has_no_allowed_option() -> None:
    assert [
        (backend, name)
        for backend, entry in REFUSED.items()
        for name, it in entry["options"].items()
        if it["decision"] == "allow"
    ] == []
    assert (
        set(REFUSED) & set(schema("request")["$defs"]["endpoint"]["properties"]["type"]["enum"])
        == set()
    )


def test_schema_has_the_allowed_types() -> None:
    types = schema("request")["$defs"]["endpoint"]["properties"]["type"]["enum"]
    # Those that the service itself serves to rclone are no backends of rclone.
    assert sorted(one for one in types if not traits(one).is_served) == sorted(ALLOWED)


@pytest.mark.parametrize("backend", ALLOWED)
def test_schema_has_the_allowed_options(backend: str) -> None:
    request_only = set(BACKENDS[backend].get("request_only", ()))
    assert set(definition(backend)["properties"]) == allowed_names(backend) | request_only


def test_schema_has_the_json_types_of_rclone(providers: list[dict[str, Any]]) -> None:
    types = {
        (it["Name"], option["Name"]): JSON_TYPES.get(option["Type"], "string")
        for it in providers
        for option in it["Options"]
    }
    assert [
        (backend, name)
        for backend, name, member in members()
        if name not in BACKENDS[backend].get("request_only", ())
        and resolved(member)["type"] != types[backend, name]
    ] == []


def test_secret_members_are_write_only(providers: list[dict[str, Any]]) -> None:
    passwords = {
        (it["Name"], option["Name"])
        for it in providers
        for option in it["Options"]
        if option["IsPassword"]
    }
    secret = {
        (backend, name)
        for backend, name, _ in members()
        if (backend, name) in passwords
        or SECRET_RISKS & set(BACKENDS[backend]["options"].get(name, {}).get("risk", ()))
        or SECRET_NAMES.fullmatch(name)
    } - NO_SECRET
    shown = [
        (backend, name)
        for backend, name, member in members()
        if (backend, name) in secret and member.get("writeOnly") is not True
    ]
    assert shown == []
    assert len(secret) > 50


def test_allowed_options_have_no_risk_for_the_host() -> None:
    risky = [
        (backend, name, sorted(risks))
        for backend, name, it in OPTIONS
        if it["decision"] == "allow"
        and (risks := FORBIDDEN & set(it.get("risk", ())) - EXCEPTIONS.get((backend, name), set()))
    ]
    assert risky == []
    assert all(name in definition(backend)["required"] for backend, name in EXCEPTIONS)


def test_members_that_name_a_host_have_a_form_that_the_policy_checks() -> None:
    for backend, name, member in members():
        risks = set(BACKENDS[backend]["options"].get(name, {}).get("risk", ()))
        is_target = bool(risks & {"endpoint", "ssrf_host"}) and name != "port"
        if (backend, name) in SELECTS_A_HOST:
            assert member.get("$ref") not in DIALLING
        elif NAMES_A_HOST.fullmatch(name) or is_target:
            assert member.get("$ref") in DIALLING, (backend, name)
        else:
            assert member.get("$ref") not in DIALLING, (backend, name)


@pytest.mark.parametrize(("backend", "name"), sorted(SELECTS_A_HOST))
@pytest.mark.parametrize(
    "value", ["example.org/", "example.org#", "a@example.org", "example.org:80", "../a", ""]
)
def test_part_of_a_host_cannot_become_another_host(backend: str, name: str, value: str) -> None:
    assert complaints("request", value, f"{pointer(backend)}/properties/{name}") != []


@pytest.mark.parametrize("backend", ALLOWED)
def test_every_type_has_valid_examples(backend: str) -> None:
    examples = definition(backend)["examples"]
    assert examples
    for example in examples:
        assert complaints("request", example, pointer(backend)) == []


@pytest.mark.parametrize("backend", ALLOWED)
@pytest.mark.parametrize(
    "name",
    ["type", "config_is_local", "override.http_proxy", "global.log_file", "a.b", "unknown", "URL"],
)
def test_unknown_parameter_is_refused(backend: str, name: str) -> None:
    example = {**definition(backend)["examples"][0], name: "true"}
    assert len(complaints("request", example, pointer(backend))) == 1
    with pytest.raises(EngineError, match="is not allowed"):
        rclone_parameters(backend, example)


@pytest.mark.parametrize("backend", BACKENDS)
def test_only_allowed_options_are_sent_to_rclone(backend: str) -> None:
    for name, it in BACKENDS[backend]["options"].items():
        if it["decision"] == "allow":
            assert rclone_parameters(backend, {name: "value"}) == {name: "value"}
        elif name not in BACKENDS[backend].get("request_only", ()):
            with pytest.raises(EngineError, match="is not allowed"):
                rclone_parameters(backend, {name: "value"})


@pytest.mark.parametrize("backend", ["", "WebDAV", "webdav ", ":webdav", "local", "unheard of"])
def test_unknown_backend_is_refused(backend: str) -> None:
    with pytest.raises(EngineError, match="is not allowed"):
        rclone_parameters(backend, {})


@pytest.mark.parametrize("backend", ["s3", "azureblob", "internetarchive"])
def test_anonymous_is_not_sent_because_rclone_infers_it_from_missing_keys(backend: str) -> None:
    assert rclone_parameters(backend, {"anonymous": True}) == {}


def test_google_access_token_is_sent_as_a_token() -> None:
    parameters = rclone_parameters(
        "google cloud storage", {"access_token": 'a "b"', "location": "here"}
    )
    assert parameters.keys() == {"token", "location"}
    assert json.loads(str(parameters["token"])) == {"access_token": 'a "b"', "token_type": "Bearer"}


@contextmanager
def proxy(events: queue.SimpleQueue[str]) -> Iterator[str]:
    """An HTTP proxy that connects to nothing, and reports the first line of each request."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            try:
                events.put(self.rfile.readline().decode("latin-1"))
                self.wfile.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            except OSError:
                pass  # rclone has ended

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("backend", sorted(set(ALLOWED) - NO_HTTP_PROXY))
def test_rclone_connects_through_the_proxy(
    rclone: Path, providers: list[dict[str, Any]], backend: str
) -> None:
    google = backend == "google cloud storage"
    example = {"access_token": "token"} if google else definition(backend)["examples"][0]
    [options] = [it["Options"] for it in providers if it["Name"] == backend]
    passwords = {option["Name"] for option in options if option["IsPassword"]}
    environment = {"RCLONE_CONFIG_REMOTE_TYPE": backend}
    for name, value in rclone_parameters(backend, example).items():
        text = run(rclone, "obscure", str(value)).strip() if name in passwords else str(value)
        environment[f"RCLONE_CONFIG_REMOTE_{name.upper()}"] = text
    events: queue.SimpleQueue[str] = queue.SimpleQueue()
    with (
        proxy(events) as address,
        subprocess.Popen(
            [rclone, "--config", "", "--http-proxy", address, "lsf", "remote:folder"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process,
    ):
        watch = threading.Thread(target=lambda: events.put(f"ended: {process.wait()}"))
        watch.start()
        try:
            first = events.get(timeout=120)
        finally:
            process.kill()
            watch.join()
    assert first.startswith(("CONNECT ", "GET ", "PROPFIND ", "POST ", "HEAD ")), first
