"""Write the generated pages of docs/reference, from schemas, settings, codes and the command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from efss_transfer.client import errors
from efss_transfer.contract import schemas
from efss_transfer.model.errors import CODES
from efss_transfer.model.warnings import WARNINGS
from reference_command import command
from reference_engines import page as engines
from reference_schemas import cell, page, storages
from reference_settings import settings

ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = ROOT / "docs" / "reference"
_MADE: Final = "<!-- Made by scripts/reference: change its sources, and run it again. -->\n\n"
_CODES: Final = (
    "A [problem](problem.md) has one of these codes, and so has each error in a "
    "[result](result.md). After each of them it is safe to send the same request again: files that "
    "have arrived are skipped. `retryable` says whether that can help; the problem's own value "
    "takes precedence over this table, because it knows the case."
)
_OF_THE_CLIENT: Final = (
    "The Python client and the command have three more codes, for answers that are missing or not "
    "the service's:"
)
_OF_WARNINGS: Final = (
    "A [result](result.md) may have `warnings`, for what is right but weaker than hoped. They "
    "change neither the state of the transfer nor its status."
)
_TITLES: Final = {
    "request": "a transfer request: both endpoints, selection, options.",
    "result": "the result of a transfer.",
    "event": "the lines of a stream.",
    "problem": "the answer to a request that did not succeed.",
    "plan-request": "a request to `/plan`.",
    "plan": "the time and the shards that a transfer would take.",
    "list-request": "a request to `/list`.",
    "listing": "the content of a folder.",
    "check-request": "a request to `/check`.",
    "check": "what a caller may do with a storage, and what it can.",
    "site": "the site file: callers, storages, hosts, limits.",
}


def pages() -> dict[str, str]:
    """The content of every page, by its name."""
    made = {f"{name}.md": page(name) for name in schemas.NAMES}
    made |= {
        "storages.md": storages(),
        "settings.md": settings(),
        "codes.md": codes(),
        "command.md": command(),
        "engines.md": engines(),
    }
    made["README.md"] = index()
    return {name: _MADE + text for name, text in made.items()}


def index() -> str:
    """The first page."""
    lines = ["- [HTTP API](http-api.md): requests, statuses, streams, plans, looks, notifications."]
    lines += [f"- [{name}]({name}.md): {_TITLES[name]}" for name in schemas.NAMES]
    lines += [
        "- [storages](storages.md): every type of storage, and its parameters.",
        "- [engines](engines.md): what each can, refuses and says of errors.",
        "- [settings](settings.md): the variables of the function's environment.",
        "- [codes](codes.md): every error, its status, and whether a retry can help; warnings.",
        "- [command](command.md): every option of `efss-transfer`, and the exit codes.",
        "- [Python client](python-client.md): `efss_transfer.client`.",
    ]
    return "# Reference\n\n" + "\n".join(lines) + "\n"


def codes() -> str:
    """Every code that a problem, an error in a result, or the Python client may have."""
    classes = {it.code: it for it in _errors(errors.ClientError)}
    lines = [
        "# Codes",
        "",
        _CODES,
        "",
        "| code | status | retryable | meaning | in Python |",
        "|---|---|---|---|---|",
    ]
    for name, code in CODES.items():
        known = classes[name]
        text = cell(" ".join((known.__doc__ or code.title).split()))
        retry = "yes" if code.retryable else "no"
        lines.append(f"| `{name}` | {code.status} | {retry} | {text} | `{known.__name__}` |")
    lines += [
        "",
        "A client that disconnected does not see `cancelled` (499): it is for the log.",
        "",
        _OF_THE_CLIENT,
        "",
        "| code | meaning | in Python |",
        "|---|---|---|",
    ]
    for name, known in classes.items():
        if name not in CODES:
            text = cell(" ".join((known.__doc__ or "").split()))
            lines.append(f"| `{name}` | {text} | `{known.__name__}` |")
    lines += ["", "## Warnings", "", _OF_WARNINGS, "", "| code | message |", "|---|---|"]
    lines += [f"| `{name}` | {cell(text)} |" for name, text in WARNINGS.items()]
    return "\n".join(lines) + "\n"


def _errors(
    root: type[errors.ClientError],
) -> Iterator[type[errors.ClientError]]:
    """The classes that have a code of their own."""
    for one in root.__subclasses__():
        if "code" in vars(one):
            yield one
        yield from _errors(one)


def main() -> None:
    """Write the pages, and remove those that are no longer generated."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    made = pages()
    for file in FOLDER.glob("*.md"):
        if file.name not in made and file.read_text("utf-8").startswith(_MADE):
            file.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text, "utf-8")
    print(f"docs/reference: {len(made)} pages")


if __name__ == "__main__":
    main()
