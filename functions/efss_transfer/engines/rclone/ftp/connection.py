"""One connection to an FTP server, for what rclone does not tell: features, and raw listings."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Mapping
from contextlib import closing, suppress
from ftplib import FTP_TLS, all_errors, error_perm, parse227, parse229
from typing import Final

from efss_transfer.engines.rclone.ftp import tunnel

ERRORS: Final[tuple[type[Exception], ...]] = (*all_errors, ValueError)
"""What the methods of a connection raise."""
_SECONDS: Final = 20.0
_PORTS: Final = {False: 21, True: 990}
_TOTAL: Final = re.compile(r"total \d+$", re.IGNORECASE)
_SELF: Final = re.compile(r"(?:^|\s)\.{1,2}$")
_OWN_FACTS: Final = re.compile(r"(?:^|;)type=[cp]dir;", re.IGNORECASE)
_HIDDEN: Final = re.compile(r"(?:^|\s)\.\S*$")
_NO_ENTRIES: Final = ("450", "550")
_MOST_BYTES: Final = 1 << 26
# Pure-FTPd lists 10,000 entries of a folder by default, and says this at the end.
_TRUNCATED: Final = re.compile(r"\btruncated\b", re.IGNORECASE)
_COUNTED: Final = re.compile(r"\b(\d{1,9}) matches total\b", re.IGNORECASE)


class FtpConnection:
    """A connection as a remote with these parameters makes it. Its methods, and making it, raise
    one of `ERRORS`.
    """

    def __init__(self, parameters: Mapping[str, str]) -> None:
        self._parameters = parameters
        self._home = "/"
        self._ftp = _Ftp(parameters)

    def close(self) -> None:
        """Close the connection at once, also while another thread waits for an answer."""
        if self._ftp.sock is not None:
            with suppress(OSError):
                self._ftp.sock.shutdown(socket.SHUT_RDWR)
        self._ftp.close()

    def has_mlsd(self) -> bool:
        """Whether the server lists in a form that leaves nothing to guess (RFC 3659)."""
        return "MLST" in self._features()

    def sign_in(self) -> None:
        """Sign in, and remember the folder in which relative paths begin."""
        user, secret = (self._parameters.get(name, "") for name in ("user", "pass"))
        self._ftp.login(user, secret, secure=False)
        if isinstance(self._ftp.sock, ssl.SSLSocket):
            self._ftp.prot_p()
        if "UTF8" in self._features():
            with suppress(error_perm):
                self._ftp.sendcmd("OPTS UTF8 ON")
        self._home = self._ftp.pwd()

    def enter(self, path: str) -> None:
        """Go to a folder, by a path as rclone has it."""
        self._ftp.cwd(self._whole(path))

    def is_folder(self, path: str) -> bool:
        """Whether a path is a folder that can be entered."""
        try:
            self.enter(path)
        except error_perm:
            return False
        return True

    def shows_hidden(self, path: str) -> bool:
        """Whether the server lists hidden files of a folder, too, if rclone asks it for them."""
        whole = self._whole(path)
        everything = self._ftp.retrieved(f"LIST -a {whole}")
        if not everything:  # The folder is made only now.
            whole = self._home
            everything = self._ftp.retrieved(f"LIST -a {whole}")
        shown = self._ftp.retrieved(f"LIST {whole}")
        without = [line for line in shown if not _TOTAL.match(line)]
        return set(without) <= set(everything) and any(map(_HIDDEN.search, everything))

    def has(self, path: str) -> bool:
        """Whether a path is there."""
        try:
            self._ftp.voidcmd("TYPE I")
            self._ftp.size(self._whole(path))
        except error_perm:
            return self.is_folder(path)
        return True

    def was_cut(self) -> bool:
        """Whether the last listing was not whole, as the server says."""
        return self._ftp.was_cut

    def lines(self, *, hidden: bool) -> list[str]:
        """The lines of the folder's listing, one for each entry."""
        lines = self._ftp.retrieved("LIST -a" if hidden else "LIST")
        return [line for line in lines if not (_TOTAL.match(line) or _SELF.search(line))]

    def names(self, *, hidden: bool) -> list[str] | None:
        """The names in the folder; None if the server tells no names alone."""
        try:
            lines = self._ftp.retrieved("NLST -a" if hidden else "NLST")
        except error_perm:
            return None
        names = (line.rstrip("/").rpartition("/")[2] for line in lines)
        return [name for name in names if name not in ("", ".", "..")]

    def fact_lines(self) -> list[str]:
        """The lines of the folder's listing by MLSD, one for each entry."""
        lines = self._ftp.retrieved("MLSD")
        return [line for line in lines if not _OWN_FACTS.search(line)]

    def fact_names(self) -> list[str] | None:
        """The names in the folder by MLSD; None if a line is none of MLSD, such as half of one."""
        lines = [line.partition("; ") for line in self.fact_lines()]
        if not all("=" in facts and name for facts, _, name in lines):
            return None
        return [name for _, _, name in lines]

    def _whole(self, path: str) -> str:
        return path if path.startswith("/") else f"{self._home.rstrip('/')}/{path}"

    def _features(self) -> set[str]:
        try:
            reply = self._ftp.sendcmd("FEAT")
        except error_perm:  # unknown to the server, or refused before the sign-in
            return set()
        words = (line.split() for line in reply.splitlines())
        return {line[0].upper() for line in words if line}


class _Ftp(FTP_TLS):
    """ftplib's client, with connections through the proxy, and TLS only if it is asked for."""

    def __init__(self, parameters: Mapping[str, str]) -> None:
        context = ssl.create_default_context()
        # Servers want the session of the control connection on each data connection, and one of
        # TLS 1.3 cannot be used before its ticket has arrived.
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        super().__init__(context=context)
        self._parameters = parameters
        self.was_cut = False
        is_implicit = parameters.get("tls") == "true"
        self.host = parameters["host"].strip("[]")
        self.port = int(parameters.get("port") or _PORTS[is_implicit])
        self.sock = self._dialled(self.port)
        try:
            if is_implicit:
                self.sock = context.wrap_socket(self.sock, server_hostname=self.host)
            self._read_from(self.sock)
            self.welcome = self.getresp()
            if parameters.get("explicit_tls") == "true" and not is_implicit:
                self.auth()
                self._read_from(self.sock)
        except BaseException:
            self.close()
            raise

    def retrieved(self, command: str) -> list[str]:
        """The lines that a command sends over a data connection, without empty ones."""
        self.was_cut = False
        with closing(self._dialled(self._passive())) as plain:
            try:
                reply = self.sendcmd(command)
            except error_perm as error:
                if str(error).startswith(_NO_ENTRIES):
                    return []  # so do many servers for a folder without entries
                raise
            data = b""
            if reply.startswith("1"):
                with closing(self._encrypted(plain)) as connection:
                    data = _read_all(connection)
                reply = self.voidresp()
        text = data.decode("utf-8", "surrogateescape")
        lines = [line for line in text.replace("\r", "").split("\n") if line.strip()]
        counted = _COUNTED.search(reply)
        is_short = counted is not None and int(counted[1]) > len(lines)
        self.was_cut = is_short or _TRUNCATED.search(reply) is not None
        return lines

    def _read_from(self, connection: socket.socket) -> None:
        # Names in another encoding must not end a reply.
        self.file = connection.makefile("r", encoding="utf-8", errors="surrogateescape")

    def _passive(self) -> int:
        """The port of the next data connection. The address is the server's, whatever it says:
        behind a router it names one that is none here.
        """
        try:
            return parse229(self.sendcmd("EPSV"), (self.host, self.port))[1]
        except error_perm:
            return parse227(self.sendcmd("PASV"))[1]

    def _dialled(self, port: int) -> socket.socket:
        return tunnel.connect(self._parameters, self.host, port, _SECONDS)

    def _encrypted(self, plain: socket.socket) -> socket.socket:
        if not isinstance(self.sock, ssl.SSLSocket):
            return plain
        return self.context.wrap_socket(plain, server_hostname=self.host, session=self.sock.session)


def _read_all(connection: socket.socket) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while piece := connection.recv(1 << 16):
        pieces.append(piece)
        size += len(piece)
        if size > _MOST_BYTES:
            raise OSError("the folder's listing is too long")
    return b"".join(pieces)
