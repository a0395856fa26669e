"""`efss-transfer init`: the files of a new site."""

from __future__ import annotations

import hashlib
import re
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from efss_transfer.cli.operator.answers import SiteAnswers

_FOLDER: Final = "/etc/efss-transfer"
_TLS: Final = "/etc/ssl/efss-transfer"
# What systemd and nginx take in a path without quoting.
_PLAIN: Final = re.compile(r"/[A-Za-z0-9._/-]*")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path(_FOLDER))
@click.option("--name", help="The site's name, for comments in the files.")
@click.option("--address", help="Where callers reach the gateway, such as https://HOST.")
@click.option("--caller", "callers", multiple=True, help="A caller, who gets a token. Repeatable.")
@click.option("--oidc-issuer", help="Accept access tokens of this issuer instead.")
@click.option("--oidc-audience", default="efss-transfer", show_default=True)
@click.option(
    "--storage",
    "storages",
    multiple=True,
    metavar="NAME=JSON",
    help="A storage, as in a site file; secrets as {'file': PATH} or {'env': NAME}. Repeatable.",
)
@click.option("--allow-host", "hosts", multiple=True, help="A host that callers may name.")
@click.option("--concurrent", type=click.IntRange(1, 1000), help="Transfers at a time.")
@click.option("--seconds", type=click.IntRange(1, 2592000), help="Longest duration of a transfer.")
@click.option("--certificate", default=f"{_TLS}/fullchain.pem", show_default=True)
@click.option("--certificate-key", default=f"{_TLS}/privkey.pem", show_default=True)
@click.option("--yes", is_flag=True, help="Ask nothing: take the options and the defaults.")
@click.option("--force", is_flag=True, help="Replace files that exist.")
def init(folder: Path, *, force: bool, yes: bool, **given: Any) -> None:
    """Write the files of a new site: site file, settings, secrets, systemd units, nginx.

    They go into FOLDER, by default /etc/efss-transfer. Each caller gets a new token, in a file of
    its own below `tokens`; the site file has only its hash. Secrets go into files below
    `credentials`. Only the owner can read these files, and nothing in them is printed. Nothing is
    started, and nothing outside FOLDER is changed: the end of the output says what to do next.

    \b
    Examples:
      efss-transfer init
      efss-transfer init site --yes --address https://transfer.example.org --caller portal
    """
    from efss_transfer.cli.operator import site_folder

    folder = folder.absolute()
    if not _PLAIN.fullmatch(str(folder)):
        raise click.UsageError(
            "FOLDER may have letters, digits, dots, hyphens and underscores only, for systemd."
        )
    if not force:
        site_folder.refuse_existing(folder, site_folder.FIXED)
    answers = _answers(asks=not yes, **given)
    files = site_folder.files_of(answers, folder)
    if not force:
        site_folder.refuse_existing(folder, [it.path for it in files if not it.keep])
    site_folder.check(files)
    site_folder.write(folder, files)
    click.echo(f"Written to {folder}: {', '.join(it.path for it in files)}.\n")
    for line in _next_steps(answers, folder):
        click.echo(line)


def _answers(
    *,
    asks: bool,
    name: str | None,
    address: str | None,
    callers: tuple[str, ...],
    oidc_issuer: str | None,
    oidc_audience: str,
    storages: tuple[str, ...],
    hosts: tuple[str, ...],
    concurrent: int | None,
    seconds: int | None,
    certificate: str,
    certificate_key: str,
) -> SiteAnswers:
    from efss_transfer.cli.operator import questions
    from efss_transfer.cli.operator.answers import Address, SiteAnswers, file_name, one_line

    def ask(text: str, given: Any, default: Any, parse: Any) -> Any:
        if given is None and asks:
            return click.prompt(text, default=default, value_proc=parse)
        if given is None and default is None:
            raise click.UsageError(f"With --yes, give --{text.split()[-1]}.")
        return parse(default if given is None else given)

    named = ask("The site's name", name, "efss-transfer", one_line)
    place = ask("The gateway's public address", address, None, Address.parse)
    if asks and not callers and oidc_issuer is None:
        told = click.prompt(
            "Who may call? Callers' names, or the https address of an OpenID Connect issuer",
            default="portal",
        )
        if told.startswith("https://"):
            oidc_issuer = told
            oidc_audience = click.prompt("The tokens' audience", default=oidc_audience)
        else:
            callers = tuple(told.replace(",", " ").split())
    tokens = {} if oidc_issuer else {file_name(it): _token() for it in callers or ("portal",)}
    described = tuple(map(questions.storage_of_option, storages))
    if asks and not described:
        described = tuple(questions.ask_storages())
    if asks and not hosts:
        text = "Hosts that callers may name besides these, such as *.example.org; empty for all"
        hosts = tuple(click.prompt(text, default="").replace(",", " ").split())
    return SiteAnswers(
        named,
        place,
        tokens,
        {caller: hashlib.sha256(token.encode()).hexdigest() for caller, token in tokens.items()},
        oidc_issuer,
        oidc_audience,
        described,
        hosts,
        ask("Transfers at a time", concurrent, 8, click.IntRange(1, 1000)),
        ask("Longest transfer in seconds", seconds, 3600, click.IntRange(1, 2592000)),
        _plain_path(certificate),
        _plain_path(certificate_key),
    )


def _token() -> str:
    return secrets.token_hex(32)


def _plain_path(text: str) -> Path:
    if not _PLAIN.fullmatch(text):
        raise click.UsageError(f"{text!r} must be an absolute path of plain letters, for nginx.")
    return Path(text)


def _next_steps(answers: SiteAnswers, folder: Path) -> Iterator[str]:
    from efss_transfer.cli.operator import deploy_files as units

    certificate = answers.certificate
    yield "Next:"
    yield f"1. Put the certificate of {answers.address.host} into {certificate},"
    yield f"   and its key into {answers.certificate_key}."
    for it in answers.storages:
        for name in [name for name, value in it.secrets.items() if not value]:
            file = f"{folder}/credentials/{it.credential(name)}"
            yield f"   Write the {name} of {it.name} into {file}."
    yield "   Then try the storages:"
    yield f"     efss-transfer site check --connect --credentials {folder}/credentials \\"
    yield f"       {folder}/site.json"
    yield "2. Install and start, as root:"
    if sys.prefix.startswith(("/home/", "/root/")):
        yield f"     (The service cannot read below {Path(sys.prefix).parents[-2]}: install this"
        yield "     command into /opt/efss-transfer first, and run init by that one.)"
    yield f"     install -m 0644 {folder}/{units.SERVICE} {folder}/{units.SOCKET} \\"
    yield "       /etc/systemd/system/"
    yield f"     install -m 0644 {folder}/{units.NGINX} /etc/nginx/conf.d/efss-transfer.conf"
    yield "     systemctl daemon-reload"
    yield f"     systemctl enable --now {units.SOCKET} {units.SERVICE}"
    yield "     nginx -t && systemctl reload nginx"
    where = f"--url {answers.address.url}"
    if answers.issuer is not None:
        yield f"3. With an access token of {answers.issuer} in the file `token`:"
        where += " --token-file token"
    else:
        caller = next(iter(answers.tokens))
        yield f"3. Give each caller the file below {folder}/tokens. Then, as {caller}:"
        where += f" --token-file {folder}/tokens/{caller}"
    first = answers.storages[0].name if answers.storages else "ENDPOINT"
    yield f"     efss-transfer ls {where} {first}:"
