"""`efss-transfer validate` and `schema`: check a request offline, before it is sent."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from efss_transfer.cli.inputs import read_input
from efss_transfer.contract.schemas import NAMES

if TYPE_CHECKING:
    from efss_transfer.model.errors import Violation
    from efss_transfer.model.request import Endpoint


@click.command()
@click.argument("request", metavar="REQUEST.json")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def validate(request: str, as_json: bool) -> None:
    """Check a transfer request offline; - for stdin.

    Lists all errors, each with the JSON Pointer of its place. The rules and storages of a site
    are not checked.

    Exits with 0 if the request is valid, and with 1 if not.

    \b
    Example:
      efss-transfer validate request.json
    """
    from efss_transfer.contract import request_parser
    from efss_transfer.model.errors import InvalidRequest, RequestError
    from efss_transfer.site import policy

    violations: list[Violation] = []
    detail = None
    try:
        policy.check_sensible(request_parser.parse(read_input(request), _any_storage))
    except InvalidRequest as error:
        detail, violations = str(error), error.violations
    except RequestError as error:
        detail = str(error)
    if as_json:
        report: dict[str, Any] = {"valid": detail is None}
        if detail is not None:
            report["detail"] = detail
        click.echo(
            json.dumps({**report, "errors": [violation.to_json() for violation in violations]})
        )
    elif detail is None:
        click.echo(f"{request}: valid")
    elif violations:
        click.echo(f"{request}: not valid", err=True)
        for it in violations:
            click.echo(
                f"  {it.pointer or '(entire request)'}: {it.message} [{it.keyword}]", err=True
            )
    else:
        click.echo(f"{request}: not valid: {detail}", err=True)
    sys.exit(0 if detail is None else 1)


@click.command("schema")
@click.argument("name", type=click.Choice(NAMES), default="request")
def print_schema(name: str) -> None:
    """Print the JSON Schema (2020-12) called NAME. Default: request.

    \b
    Examples:
      efss-transfer schema
      efss-transfer schema result
    """
    from efss_transfer.contract.schemas import schema

    click.echo(json.dumps(schema(name), indent=2, ensure_ascii=False))


def _any_storage(_: str, document: Mapping[str, Any]) -> Endpoint:
    """Stand in for a storage of a site file, which is unknown here."""
    from efss_transfer.model.request import Endpoint

    name = document["storage"]
    return Endpoint(
        type=f"storage {name}",
        parameters=document.get("parameters", {}),
        path=document.get("path", ""),
        storage=name,
    )
