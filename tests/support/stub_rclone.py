"""A stand-in for rclone that misbehaves as its name says: it is run under that name.

It takes over the listening socket as rclone does. What it is never asked for it does not do.
"""

import http.server
import json
import os
import signal
import socket
import sys
import time

BEHAVIOUR = os.path.basename(sys.argv[0])  # noqa: PTH119 - started anew by every test, so quick


class Handler(http.server.BaseHTTPRequestHandler):
    """The rc API, as far as it goes."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer, or misbehave."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parameters = json.loads(body or b"{}")
        call = self.path.lstrip("/")
        if BEHAVIOUR == "dies_at_first_call":
            os._exit(3)
        if BEHAVIOUR == "dies_at_config" and call == "config/create":
            os._exit(3)
        if BEHAVIOUR == "dies_at_copy" and call == "sync/copy":
            os._exit(3)
        if BEHAVIOUR == "silent_at_config" and call == "config/create":
            time.sleep(600)
        if BEHAVIOUR == "silent_at_copy" and call == "sync/copy":
            time.sleep(600)
        answer: object = {}
        if call == "core/version":
            answer = {"version": "v1.60.0" if BEHAVIOUR == "old" else "v1.99.0"}
        # rclone says at the level DEBUG what it has answered; `rc/noop` repeats its parameters.
        said = f"marker:{parameters['marker']}" if "marker" in parameters else ""
        line = json.dumps({"level": "debug", "msg": f'rc: "{call}": reply map[{said}]: <nil>'})
        print(line, file=sys.stderr, flush=True)
        reply = b"<html>" if BEHAVIOUR == "babbles" else json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(http.server.ThreadingHTTPServer):
    """A server on the socket that was inherited."""

    def __init__(self) -> None:
        super().__init__(("", 0), Handler, bind_and_activate=False)
        self.socket = socket.socket(fileno=3)

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """A unix socket's peer has no address; http.server wants one."""
        return self.socket.accept()[0], ("rc", 0)


if os.environ.get("LISTEN_PID") != str(os.getpid()):
    sys.exit("the socket was not handed over")
if BEHAVIOUR == "dies_at_boot":
    sys.exit(1)
if BEHAVIOUR.startswith("deaf"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if BEHAVIOUR in ("silent", "deaf_and_silent"):
    time.sleep(600)
if BEHAVIOUR == "noisy":
    # More than a pipe holds, and no line of it is JSON.
    sys.stderr.write("x" * 300_000 + "\n" + "{]\n" * 100_000)
    sys.stderr.flush()
Server().serve_forever()
