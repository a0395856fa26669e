"""Writes docs/first-copy.md: a newcomer's first copy, as a terminal shows it.

Every line of it was printed by the command, between a stand-in of Nextcloud, an S3 server and the
service, all on this machine. Their addresses are replaced by examples, and times and durations by
fixed ones; a test compares the page with a fresh run.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support import nextcloud, service_process
from support import storages as servers
from support.cli_user import User
from support.storages import Storage

PAGE: Final = Path(__file__).parents[1] / "docs" / "first-copy.md"
_MARK: Final = "<!-- Made by scripts/transcript, do not edit. -->"
_TITLE: Final = "# A first copy, from nothing to done"
_OPENING: Final = (
    "This page is what two terminals show, an operator's and then Alice's: a script types the "
    "commands and writes down the answers. [A site in ten minutes](how-to/ten-minutes.md) and "
    "[the tutorial](tutorial.md) explain the steps."
)
_INIT: Final = "efss-transfer init site --yes --address https://transfer.example.org --caller alice"
_COLUMNS: Final = 110
_FILES: Final = {
    "Measurements/a.h5": bytes(1 << 20),
    "Measurements/notes.txt": b"of alice",
    "Measurements/raw/b.h5": bytes(200_000),
}
_FREE: Final = 10 << 30
# What differs from run to run, and what the page has instead.
_FIXED: Final = (
    (re.compile(r"\bin \d+ s\b( \([^)]*/s\))?"), "in 1 s"),
    # What init says of an environment below a home folder.
    (re.compile(r" +\(The service cannot read below.*?that one\.\)\n", re.DOTALL), ""),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d\b"), "2026-11-29 20:00"),
)


@dataclass(frozen=True)
class Step:
    """A command, the answers to its questions, and the sentence before it.

    `in_pipe` is for a command whose terminal would show bars that move.
    """

    text: str
    command: str
    answers: Sequence[tuple[str, str]] = ()
    in_pipe: bool = False


@dataclass
class Newcomer:
    """Alice, and what the page says in place of what is only true on this machine."""

    user: User
    said: dict[str, str] = field(default_factory=dict)

    def take(self, step: Step) -> str:
        """Type a command, answer it, and return what the terminal shows."""
        words = step.command.split()[1:]
        if step.in_pipe:
            done = self.user.run(*words)
            code, shown = done.returncode, done.stdout
        else:
            with self.user.in_terminal(*words, columns=_COLUMNS, TZ="UTC") as screen:
                for question, answer in step.answers:
                    # With the space after it: by then the terminal shows nothing of a secret.
                    screen.wait_for(f"{question}: ")
                    screen.press(answer.encode() + b"\n")
                code = screen.end()
            shown = screen.text
        if code != 0:
            raise AssertionError(f"{step.command} exits with {code}: {shown}")
        for old, new in self.said.items():
            shown = shown.replace(old, new)
        for pattern, fixed in _FIXED:
            shown = pattern.sub(fixed, shown)
        lines = [line.rstrip() for line in shown.splitlines()]
        return "\n".join([f"$ {step.command}", *lines])


def made_site(home: Path) -> tuple[str, dict[str, Any], str]:
    """Let an operator make a site; return what the terminal shows, the site, and Alice's token."""
    operator = Newcomer(User.at(home), {str(home): "/home/operator"})
    text = (
        "The operator makes the files of a site. The steps that follow put them to use; then Alice "
        "gets the address and her token."
    )
    shown = operator.take(Step(text, _INIT, in_pipe=True))
    site = json.loads((home / "site" / "site.json").read_text("utf-8"))
    token = (home / "site" / "tokens" / "alice").read_text("utf-8").strip()
    return f"{text}\n\n```console\n{shown}\n```", site, token


def steps(cloud: Storage, archive: Storage, site: str) -> Iterator[Step]:
    """What Alice does."""
    yield Step(
        "Alice has a Nextcloud, and the keys of an S3 service with a bucket. `EFSS_TRANSFER_URL` "
        "and `EFSS_TRANSFER_TOKEN` lead her to the service. She names her Nextcloud, by the "
        "address in her browser. The command says where app passwords are made, and shows nothing "
        "of the one that she pastes:",
        "efss-transfer endpoints add cloud",
        (
            ("Kind of storage: a number, or a type such as ftp", "1"),
            ("Address, as your browser shows it", f"{site}/apps/files"),
            ("User name", str(cloud.parameters["user"])),
            ("App password (not shown)", str(cloud.parameters["pass"])),
            ("Folder to begin in (empty for all)", ""),
        ),
    )
    yield Step(
        "And the bucket, with both halves of the key:",
        "efss-transfer endpoints add archive --kind s3",
        (
            (
                "Address of the service, such as https://s3.example.org",
                str(archive.parameters["endpoint"]),
            ),
            (
                "Access key ID (empty for public data) (not shown)",
                str(archive.parameters["access_key_id"]),
            ),
            ("Secret access key (not shown)", str(archive.parameters["secret_access_key"])),
            ("Bucket, or bucket/folder (empty for all buckets)", "bucket"),
        ),
    )
    yield Step(
        "Can the service reach both, sign in, read, and write?",
        "efss-transfer check cloud archive --write",
    )
    yield Step("What is there to copy?", "efss-transfer ls cloud:Measurements")
    yield Step(
        "What would be copied?",
        "efss-transfer copy --dry-run cloud:Measurements archive:2026",
        in_pipe=True,
    )
    yield Step(
        "She copies, and has both sides compared. Meanwhile the terminal shows bars, the speed and "
        "the time left:",
        "efss-transfer copy --verify size cloud:Measurements archive:2026",
        in_pipe=True,
    )
    yield Step("Done:", "efss-transfer ls archive:2026")
    yield Step(
        "The same command again copies only what is new or has changed:",
        "efss-transfer copy cloud:Measurements archive:2026",
        in_pipe=True,
    )


def page() -> str:
    """Run all steps, and return the page."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(TemporaryDirectory(dir="/tmp")))
        cloud = stack.enter_context(nextcloud.serving())
        archive = stack.enter_context(servers.s3())
        shown, made, token = made_site(home / "operator")
        # The storages of this page are on this machine, which no other site would allow.
        made.setdefault("allow", {})["networks"] = ["127.0.0.0/8"]
        runtime = home / "run"
        runtime.mkdir()
        function = stack.enter_context(service_process.function(runtime, site=made))
        cloud.user().quota = _FREE
        for path, content in _FILES.items():
            cloud.write(f"/{path}", content)
        storage = cloud.storage()
        site = str(storage.parameters["url"]).partition("/remote.php")[0]
        user = User.at(home / "home", EFSS_TRANSFER_URL=function.url, EFSS_TRANSFER_TOKEN=token)
        said = {site: "https://cloud.example.org"}
        said[str(archive.parameters["endpoint"])] = "https://s3.example.org"
        newcomer = Newcomer(user, said)
        taken = [
            f"{step.text}\n\n```console\n{newcomer.take(step)}\n```"
            for step in steps(storage, archive, site)
        ]
        function.wait_clean()
        opening = f"{_MARK}\n{_TITLE}"
        return "\n\n".join([opening, _OPENING, shown, *taken]) + "\n"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), "utf-8")
    print(f"docs/{PAGE.name}: {PAGE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
