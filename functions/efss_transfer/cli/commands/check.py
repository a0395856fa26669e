"""`efss-transfer check`: find out whether a transfer could use an endpoint."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from efss_transfer.cli import exit_codes
from efss_transfer.cli.formatting import printable, size
from efss_transfer.cli.options import LookOptions, look_options
from efss_transfer.cli.param_types import Name
from efss_transfer.cli.request_options import (
    ENDPOINTS_OPTION,
    ENGINE_OF_A_LOOK,
    read_each,
    show_hints,
    with_path,
)
from efss_transfer.cli.services import ask_first_reachable, look_services, problem, show_problem

if TYPE_CHECKING:
    from efss_transfer.cli.services import AnyService

_STEPS: Final = {
    "reach": "reached",
    "sign_in": "signed in",
    "read": "may read",
    "write": "may write",
}
_MARKS: Final = {"ok": "✓", "failed": "✗", "skipped": "-", "": " "}
_WORDS: Final = {"ok": "ok", "failed": "failed", "skipped": "skipped", "": ""}


@click.command()
@click.argument("endpoint", metavar="ENDPOINT[:PATH]…", nargs=-1, required=True, type=Name())
@ENDPOINTS_OPTION
@click.option(
    "--write", is_flag=True, help="Also make something of a random name there, and remove it."
)
@ENGINE_OF_A_LOOK
@look_options
def check(
    endpoint: tuple[str, ...],
    endpoints: Path | None,
    write: bool,
    engine: str | None,
    look: LookOptions,
) -> None:
    """Check endpoints: reached, signed in, may read, may write, free space, kind of server.

    ENDPOINT is one of your endpoints file, or a storage that the service's site file defines.
    Nothing is written, unless --write is given: then a folder `.efss-transfer-…` is made and
    removed, or in an object store a small object. With --engine tpc it is a small file, which the
    storage copies to itself, to tell whether it can pull and push.

    Exits with 0 if every step passed, and with 1 if one failed. If a check could not run, it exits
    as `copy` does: 5 temporary failure, 7 refused.

    \b
    Examples:
      efss-transfer check cloud:
      efss-transfer check cloud:Measurements archive:2026 --write
      efss-transfer check eos:run-42 --write --engine tpc
    """
    from efss_transfer.client.errors import ClientError

    known, asked = read_each(endpoints, *map(with_path, endpoint))
    codes = []
    for name, one in zip(endpoint, asked, strict=True):
        try:
            answer = ask_first_reachable(look_services(look), partial(_ask, one, write, engine))
        except ClientError as error:
            codes.append(exit_codes.of_error(error))
            if look.as_json:
                _print_json(name, problem(error))
            else:
                show_problem(error, name)
                show_hints(known, name)
            continue
        codes.append(exit_codes.OK if answer["passed"] else exit_codes.ERROR)
        if look.as_json:
            _print_json(name, answer)
            continue
        if len(endpoint) > 1:
            click.echo(printable(name))
        for line in _lines(answer):
            click.echo(line)
    sys.exit(next(filter(None, codes), exit_codes.OK))


def _ask(
    endpoint: dict[str, Any], write: bool, engine: str | None, service: AnyService
) -> dict[str, Any]:
    return service.check(endpoint, write=write, engine=engine)


def _print_json(name: str, answer: dict[str, Any]) -> None:
    click.echo(json.dumps({"endpoint": name, **answer}, ensure_ascii=False))


def _lines(answer: dict[str, Any]) -> Iterator[str]:
    rows = [(it["state"], _STEPS[it["step"]], _detail(it)) for it in answer["steps"]]
    rows += [("", name, text) for name, text in _facts(answer)]
    states = _MARKS if _shows_marks() else _WORDS
    first = max(len(states[state]) for state, _, _ in rows)
    second = max(len(name) for _, name, _ in rows)
    for state, name, text in rows:
        yield printable(f"{states[state]:{first}}  {name:{second}}  {text}".rstrip())


def _detail(step: dict[str, Any]) -> str:
    error = step.get("error")
    return "" if error is None else f"{error['code']}: {error['message']}"


def _facts(answer: dict[str, Any]) -> Iterator[tuple[str, str]]:
    space, server = answer.get("space", {}), answer["server"]
    if "free" in space:
        total = f" of {size(space['total'])}" if "total" in space else ""
        yield "free space", size(space["free"]) + total
    product = " ".join(server[name] for name in ("product", "version") if name in server)
    yield "server", f"{product} ({server['type']})" if product else server["type"]
    if "checksums" in server:
        yield "checksums", ", ".join(server["checksums"]) or "none"
    if "third_party_copy" in server:
        yield "copies itself", ", ".join(server["third_party_copy"]) or "no"
    if "keeps_times" in server:
        yield "times", "kept" if server["keeps_times"] else "not kept"


def _shows_marks() -> bool:
    """Return whether the output is a terminal whose encoding has the marks."""
    if not sys.stdout.isatty():
        return False
    try:
        "".join(_MARKS.values()).encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
