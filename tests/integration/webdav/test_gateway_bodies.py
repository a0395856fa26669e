"""Bodies through the gateway, as the engine receives them byte for byte."""

from __future__ import annotations

import socket

from support import nextcloud
from support.faulty_webdav import Faulty
from support.webdav_gateway import gateway


def test_trailers_of_a_download_reach_the_engine(dav: Faulty) -> None:
    dav.fill("data", {"f": b"content"})
    dav.chunked = True
    with gateway(dav.url) as running:
        host, port = running.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), 10) as connection:
            connection.sendall(b"GET /data/f HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n7\r\ncontent\r\n0\r\nX-Trailer: whole\r\n\r\n")


def test_connection_with_an_unread_upload_is_not_offered_again() -> None:
    # rclone sent its next request on it, which was lost: "server closed idle connection".
    with nextcloud.serving() as cloud:
        cloud.user().quota = 1_000_000
        parameters = cloud.storage().parameters
        with gateway(
            str(parameters["url"]),
            vendor="nextcloud",
            user=str(parameters["user"]),
            password=str(parameters["pass"]),
        ) as running:
            host, port = running.url.removeprefix("http://").split(":")
            with socket.create_connection((host, int(port)), 10) as connection:
                connection.sendall(b"PUT /f HTTP/1.1\r\nHost: x\r\nContent-Length: 6000000\r\n\r\n")
                answer = connection.recv(1 << 16)
    assert answer.startswith(b"HTTP/1.1 507 ")
    assert b"\r\nConnection: close\r\n" in answer
