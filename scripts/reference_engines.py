"""The reference's page of the engines: what each can, asked of the engines themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.resources import files
from typing import Any, Final

from efss_transfer.config.settings import Settings
from efss_transfer.contract.schemas import schema
from efss_transfer.engines import registry
from efss_transfer.engines.base import CheckingEngine, Engine, ListingEngine
from efss_transfer.engines.fts import reasons
from efss_transfer.engines.tpc import failures
from efss_transfer.model.errors import UnsupportedByEngine
from efss_transfer.model.request import Endpoint, Options, TransferRequest
from efss_transfer.model.verification import VerifyMode
from reference_schemas import cell

_INTRODUCTION: Final = (
    "An engine copies. A request names it as `engine`; without one it is `rclone`. A site offers "
    "`rclone`, and the engines that its [site file](site.md) names in `engines`; `GET /` lists "
    "them. What an engine cannot honour is refused before anything is sent, with 422 "
    "`unsupported` and the name of the member."
)
_ERRORS: Final = (
    "These texts were seen at real storages and servers, and a test checks each of them. What fits "
    "no rule is a `storage_error`: no code is guessed. [Codes](codes.md) says what each means."
)
_SHOWN: Final = 3
_LONGEST: Final = 160
_REASON: Final = re.compile(r"\((.*)\)\. Leave")


@dataclass(frozen=True)
class _Text:
    """What no code knows of an engine."""

    what: str
    how_to: str
    credentials: str
    health: str


TEXTS: Final = {
    "rclone": _Text(
        "Reads from one storage and writes to the other: every type of storage, and all bytes pass "
        "through this service.",
        "the [tutorial](../tutorial.md)",
        "The parameters of each endpoint: see [storages](storages.md). They are used by this "
        "service alone.",
        "Usable if the rclone program of this service is.",
    ),
    "tpc": _Text(
        "Lets two WebDAV storages copy between themselves (HTTP third-party copy), and directs "
        "each file.",
        "[third-party copies](../how-to/third-party-copies.md)",
        "The parameters of each endpoint. The storage that copies gets a macaroon of the other one "
        "for what the copy needs, where that issues them, and the caller's credential otherwise.",
        "Always usable: it needs no program and no server besides this service.",
    ),
    "fts": _Text(
        "Hands jobs of up to 1,000 files to an FTS3 server, which lets two WebDAV storages copy "
        "between themselves.",
        "[jobs of an FTS server](../how-to/fts.md)",
        "Three bearer tokens: `fts.token` or the site's for the FTS server, and a `bearer_token` "
        "for each storage, which the FTS server uses there. No X.509.",
        "Always usable. The FTS server is not asked: `/healthz` is a probe of liveness, asked "
        "every few seconds, and a remote server that is away must not take this service down. "
        "`efss-transfer site check --connect` asks it.",
    ),
}


def page() -> str:
    """What each engine is, can and refuses, and how it names errors."""
    engines = registry.engines(Settings.read({}))
    parts = [
        "# Engines",
        _INTRODUCTION,
        "\n".join(_table(engines)),
        "## Options",
        "`yes`, or why an engine refuses the member of `options`.",
        "\n".join(_options(engines)),
    ]
    for name, engine in engines.items():
        parts += [f"## {name}", *_described(name, engine)]
    return "\n\n".join(parts) + "\n"


def _table(engines: Any) -> Iterator[str]:
    yield f"| | {' | '.join(f'`{name}`' for name in engines)} |"
    yield f"|---|{'---|' * len(engines)}"
    rows = {
        "storages": [_storages(it) for it in engines.values()],
        "bytes pass through this service": [_yes(not it.is_third_party) for it in engines.values()],
        "hosts must be in `allow.hosts`": [_yes(it.is_third_party) for it in engines.values()],
        "works behind the site's `egress_proxy`": [
            _yes(not it.is_third_party) for it in engines.values()
        ],
        "`POST /list`": [_yes(isinstance(it, ListingEngine)) for it in engines.values()],
        "`POST /check`": [_yes(isinstance(it, CheckingEngine)) for it in engines.values()],
        "`POST /plan`": ["yes" for _ in engines],
        "shards": ["yes" for _ in engines],
    }
    for name, cells in rows.items():
        yield f"| {name} | {' | '.join(cells)} |"


def _options(engines: Any) -> Iterator[str]:
    yield f"| option | {' | '.join(f'`{name}`' for name in engines)} |"
    yield f"|---|{'---|' * len(engines)}"
    for name, values in _probes():
        for value in values:
            shown = f"`{name}: {value}`" if isinstance(value, str) else f"`{name}`"
            answers = [_answer(engine, name, value) for engine in engines.values()]
            yield f"| {shown} | {' | '.join(answers)} |"


def _probes() -> Iterator[tuple[str, list[Any]]]:
    """Each option with the values that are not its default."""
    for name, described in schema("request")["properties"]["options"]["properties"].items():
        if "enum" in described:
            yield name, [it for it in described["enum"] if it != described["default"]]
        elif described["type"] == "boolean":
            yield name, [True]
        else:
            yield name, [described["examples"][0]]


def _answer(engine: Engine, name: str, value: Any) -> str:
    if name == "detach":
        return "yes" if engine.can_detach else "no: its copy ends with the request"
    chosen: dict[str, Any] = {name: VerifyMode(value) if name == "verify" else value}
    reason = _refusal(engine, replace(_request(), options=Options(**chosen)))
    return "yes" if reason is None else cell(f"no: {reason}")


def _storages(engine: Engine) -> str:
    types = schema("request")["$defs"]["endpoint"]["properties"]["type"]["enum"]
    taken = [
        one for one in types if _refusal(engine, replace(_request(), source=_endpoint(one))) is None
    ]
    return "all [types](storages.md)" if taken == types else ", ".join(f"`{it}`" for it in taken)


def _refusal(engine: Engine, request: TransferRequest) -> str | None:
    """Why an engine refuses a request, if it does."""
    try:
        options = import_module(f"efss_transfer.engines.{engine.name}.options")
    except ModuleNotFoundError:
        return None  # rclone refuses nothing
    try:
        options.refuse_unsupported(request)
    except UnsupportedByEngine as error:
        found = _REASON.search(str(error))
        return found[1] if found else str(error)
    return None


def _request() -> TransferRequest:
    return TransferRequest(_endpoint("webdav"), _endpoint("webdav"))


def _endpoint(type_: str) -> Endpoint:
    return Endpoint(type_, {"url": "https://dav.example.org/", "bearer_token": "token"}, "data")


def _described(name: str, engine: Engine) -> Iterator[str]:
    text = TEXTS[name]
    yield f"{text.what} How to use it: {text.how_to}."
    yield f"**Credentials.** {text.credentials}"
    yield f"**In `/healthz`.** {text.health}"
    ending = (
        "A transfer can go on without this service: see `options.detach`."
        if engine.can_detach
        else "A caller who hangs up cancels the copy, and a deadline ends it."
    )
    yield f"**Its end.** {ending}"
    yield f"**Errors.** {_ERRORS if name == 'rclone' else 'As above; its own words:'}"
    rows = ["| text | code |", "|---|---|"]
    for code, examples in _errors(name).items():
        rows += [f"| {_quoted(example)} | `{code}` |" for example in examples[:_SHOWN]]
    yield "\n".join(rows)


def _errors(name: str) -> dict[str, list[str]]:
    """Examples of an engine's words for errors, by the code that it gives them."""
    if name == "rclone":
        document = files("efss_transfer.engines.rclone.log") / "failures.json"
        rules = json.loads(document.read_text("utf-8"))["rules"]
        pairs = [(rule["code"], rule.get("examples", [])) for rule in rules]
    elif name == "tpc":
        pairs = [(rule.code, list(rule.examples)) for rule in failures.RULES]
    else:
        pairs = [(rule.code, list(rule.examples)) for rule in reasons.RULES]
    found: dict[str, list[str]] = {}
    for code, examples in pairs:
        found.setdefault(code, []).extend(examples[:1] if name == "rclone" else examples)
    return found


def _quoted(text: str) -> str:
    line = " ".join(text.split()).replace("`", "'")
    return cell(f"`{line if len(line) <= _LONGEST else line[:_LONGEST] + '…'}`")


def _yes(it: bool) -> str:
    return "yes" if it else "no"
