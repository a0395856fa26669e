"""An FTP server without MLSD, whose LIST is as its options say: as vsftpd's and others' are.

with listing_ftp.serving(folder, groups=["domain users"]) as server:
    server.fill("data", {"a.txt": b"1", ".hidden": b"2"})
    function.copy(server.endpoint("data"), …)
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any, ClassVar

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.filesystems import AbstractedFS
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.ioloop import IOLoop
from pyftpdlib.servers import ThreadedFTPServer

from support.storages import USER, Storage, on_disk, password
from support.storages import serving as running

_WITHOUT = ("MLSD", "MLST")


class _Disk(AbstractedFS):  # type: ignore[misc]  # pyftpdlib has no types
    """Lists hidden files only to a client that asks for them, and changes lines of MLSD."""

    def format_mlsx(self, *arguments: Any, **more: Any) -> Iterator[bytes]:
        lines = super().format_mlsx(*arguments, **more)
        return map(self.cmd_channel.change_facts, islice(lines, self.cmd_channel.most))

    def shown(self, folder: str, *, everything: bool) -> list[str]:
        names = sorted(self.listdir(folder))
        return names if everything else [name for name in names if not name.startswith(".")]


class _BlindDisk(_Disk):
    """Takes names that differ only in case for one, as disks of Windows and macOS do."""

    def ftp2fs(self, path: str) -> str:
        found = Path(self.root)
        whole = Path(super().ftp2fs(path))
        for name in whole.relative_to(found).parts:
            there = (
                [it for it in found.iterdir() if it.name.lower() == name.lower()]
                if found.is_dir()
                else []
            )
            found = there[0] if there else found / name
        return str(found)


@contextmanager
def serving(
    folder: Path,
    *,
    groups: Sequence[str] = ("users",),
    hides: bool = True,
    understands_a: bool = True,
    mlsd: bool = False,
    lists_names: bool = True,
    connections: int = 0,
    blind: bool = False,
    line: str = "{kind}rw-r--r-- 1 user {group} {size:8} Nov 28 10:00 {name}",
    facts: Callable[[bytes], bytes] = bytes,
    most: int | None = None,
    end: str = "226 Transfer complete.",
) -> Iterator[Storage]:
    """The server, whose files have the `groups` in turn, in the order of their names.

    `line` is the form of LIST. `hides`: whether it lists hidden files only to a client that asks by
    `-a`, if it `understands_a`. `lists_names`: whether it knows NLST. `connections`: how many
    a client may have; 0 for any number. `blind`: whether names that differ in case are one.
    `facts` changes a line of MLSD. It lists `most` entries of a folder, and says `end` after each
    transfer.
    """
    logging.getLogger("pyftpdlib").setLevel(logging.CRITICAL)
    secret = password()
    authorizer = DummyAuthorizer()
    authorizer.add_user(USER, secret, str(folder), perm="elradfmwMT")

    class Handler(FTPHandler):  # type: ignore[misc]  # pyftpdlib has no types
        proto_cmds: ClassVar = {
            name: facts
            for name, facts in FTPHandler.proto_cmds.items()
            if mlsd or name not in _WITHOUT
        }
        abstracted_fs = _BlindDisk if blind else _Disk
        change_facts = staticmethod(facts)
        most: ClassVar[int | None] = None

        def respond(self, resp: str, **more: Any) -> None:
            super().respond(resp.replace("226 Transfer complete.", end), **more)

        def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
            self.everything = not hides
            if cmd in ("LIST", "NLST") and arg.split(" ")[0] == "-a" and understands_a:
                self.everything, arg = True, arg[2:].strip()
            super().pre_process_command(line, cmd, arg)

        def ftp_FEAT(self, line: str) -> None:  # noqa: N802 - pyftpdlib's names
            if mlsd:
                super().ftp_FEAT(line)
            else:
                self.push("211-Features:\r\n UTF8\r\n EPSV\r\n SIZE\r\n211 End\r\n")

        def ftp_LIST(self, path: str) -> Any:  # noqa: N802 - pyftpdlib's names
            if not Path(path).is_dir():
                return super().ftp_LIST(path)
            names = self.fs.shown(path, everything=self.everything)
            owned = zip(self.fs.shown(path, everything=True), cycle(groups), strict=False)
            group_of = dict(owned)
            lines = [] if not self.everything else ["drwxr-xr-x 2 user users 64 Nov 28 10:00 ."]
            for name in names[:most]:
                file = Path(path, name)
                kind, size = "d" if file.is_dir() else "-", file.stat().st_size
                facts = {"kind": kind, "size": size, "group": group_of[name], "name": name}
                lines.append(line.format(**facts))
            self._send(lines, "LIST")
            return path

        def ftp_NLST(self, path: str) -> Any:  # noqa: N802 - pyftpdlib's names
            if not lists_names:
                self.respond("502 NLST is not implemented.")
                return None
            if not Path(path).is_dir():
                return super().ftp_NLST(path)
            self._send(self.fs.shown(path, everything=self.everything)[:most], "NLST")
            return path

        def _send(self, lines: list[str], command: str) -> None:
            data = "".join(f"{line}\r\n" for line in lines).encode()
            self.push_dtp_data(data, cmd=command)

    Handler.authorizer = authorizer
    Handler.most = most
    Handler.auth_failed_timeout = 0

    class Server(ThreadedFTPServer):  # type: ignore[misc]  # pyftpdlib has no types
        # Of its own, as the loop below: those of all servers would end with the first of them.
        _exit: ClassVar = threading.Event()

    server = Server(("127.0.0.1", 0), Handler, ioloop=IOLoop())
    host, port = server.address[:2]
    server.max_cons_per_ip = connections
    with running(server.serve_forever, server.close_all):
        yield on_disk(
            "ftp",
            folder,
            {"host": host, "port": port, "user": USER, "pass": secret},
        )
