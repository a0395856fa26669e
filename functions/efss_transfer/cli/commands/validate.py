"""`efss-transfer validate` and `schema`: a request before it is sent, without any network."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from efss_transfer.cli.transfer import read_input
from efss_transfer.contract.schemas import NAMES

if TYPE_CHECKING:
    from efss_transfer.model.errors import Violation
    from efss_transfer.model.request import Endpoint


@click.command()
@click.argument("request", metavar="REQUEST.json")
@click.option("--json", "as_json", is_flag=True, help="Tell it as JSON, for programs.")
def validate(request: str, as_json: bool) -> None:
    """Check a transfer request, without any network; - is stdin.

    Every mistake is told, with its JSON Pointer. What a site allows, and which storages it
    has, is not known here.

    Exits with 0 if a service would take it, and with 1 if not.

    \b
    Example:
      efss-transfer validate request.json
    """
    from efss_transfer.contract import request_parser
    from efss_transfer.model.errors import InvalidRequest, RequestError
    from efss_transfer.site import policy

    mistakes: list[Violation] = []
    detail = None
    try:
        policy.check_sensible(request_parser.parse(read_input(request), _any_storage))
    except InvalidRequest as error:
        detail, mistakes = str(error), error.violations
    except RequestError as error:
        detail = str(error)
    if as_json:
        told: dict[str, Any] = {"valid": detail is None}
        if detail is not None:
            told["detail"] = detail
        click.echo(json.dumps({**told, "errors": [mistake.to_json() for mistake in mistakes]}))
    elif detail is None:
        click.echo(f"{request}: valid")
    elif mistakes:
        click.echo(f"{request}: not valid", err=True)
        for it in mistakes:
            click.echo(f"  {it.pointer or '(the whole)'}: {it.message} [{it.keyword}]", err=True)
    else:
        click.echo(f"{request}: not valid: {detail}", err=True)
    sys.exit(0 if detail is None else 1)


@click.command("schema")
@click.argument("name", type=click.Choice(NAMES), default="request")
def print_schema(name: str) -> None:
    """Write a JSON Schema (2020-12): of requests, if no NAME is given.

    \b
    Examples:
      efss-transfer schema
      efss-transfer schema result
    """
    from efss_transfer.contract.schemas import schema

    click.echo(json.dumps(schema(name), indent=2, ensure_ascii=False))


def _any_storage(_: str, document: Mapping[str, Any]) -> Endpoint:
    """A storage of some site's, of which nothing more is known."""
    from efss_transfer.model.request import Endpoint

    name = document["storage"]
    return Endpoint(
        type=f"storage {name}",
        parameters=document.get("parameters", {}),
        path=document.get("path", ""),
        storage=name,
    )
