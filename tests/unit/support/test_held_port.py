"""A port that is held is refused while nobody listens, and may be listened on again and again."""

from __future__ import annotations

import socket

import pytest

from support.held_port import held_port


def test_held_port_is_listened_on_again_after_each_end() -> None:
    with held_port() as port:
        for _ in range(3):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), 10)
            with socket.create_server(("127.0.0.1", port)) as listener:
                socket.create_connection(("127.0.0.1", port), 10).close()
                listener.accept()[0].close()


def test_others_are_given_other_ports() -> None:
    with held_port() as port:
        others = [socket.create_server(("127.0.0.1", 0)) for _ in range(200)]
        assert port not in {one.getsockname()[1] for one in others}
        for one in others:
            one.close()
