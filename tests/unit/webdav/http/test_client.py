"""The client against servers that say, byte by byte, what the test wants them to say."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from efss_transfer.webdav.http.client import Upstream
from efss_transfer.webdav.http.connections import Connections, NoAnswer, Origin
from efss_transfer.webdav.http.exchange import Call, Held
from support.webdav_gateway import dial

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SECRET = "Basic c2VjcmV0"

Script = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool | None]]


@dataclass
class Fake:
    """A server: `heads` are those that came, `count` is how many connections there were."""

    port: int = 0
    count: int = 0
    heads: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def serving(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[Fake]:
    """Call a script with each head; the connection ends when it gives False."""
    fake = Fake()
    attending: set[asyncio.Task[Any]] = set()

    async def attend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fake.count += 1
        task = asyncio.current_task()
        assert task is not None
        attending.add(task)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                fake.heads.append(head)
                if await script(head, reader, writer) is False:
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            if tls is None:
                writer.close()
            else:
                writer.transport.abort()  # which waits for no end of TLS
            with suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(attend, "127.0.0.1", 0, ssl=tls)
    fake.port = server.sockets[0].getsockname()[1]
    try:
        yield fake
    finally:
        server.close()
        for task in attending:
            task.cancel()
        await asyncio.gather(*attending)


def saying(answer: bytes) -> Script:
    async def script(
        _: bytes, __: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool | None:
        writer.write(answer)
        await writer.drain()
        return None

    return script


MADE: list[Connections] = []


def play(scene: Coroutine[Any, Any, None]) -> None:
    """Run it to its end, and leave no connection behind."""
    try:
        asyncio.run(scene)
    finally:
        while MADE:
            MADE.pop().close()


def upstream(port: int, scheme: str = "http", host: str = "127.0.0.1", **options: Any) -> Upstream:
    connections = Connections(dial, tls=options.pop("tls", None), proxy=options.pop("proxy", None))
    MADE.append(connections)
    options.setdefault("stall_seconds", 5.0)
    return Upstream(Origin(scheme, host, port), connections, **options)


async def text(client: Upstream, call: Call, authorization: str | None = SECRET) -> bytes:
    async with client.call(call, authorization) as answer:
        return b"%d %b" % (answer.status, await answer.text(1 << 20))


class Pieces:
    """A body that cannot be sent twice."""

    def __init__(self, *pieces: bytes, length: int | None = None, trailers: bytes = b"") -> None:
        self._pieces = pieces
        self.length = length
        self.trailers = trailers
        self.taken = 0

    @property
    def replayable(self) -> bool:
        return not self.taken

    async def pieces(self) -> AsyncIterator[memoryview | bytes]:
        for piece in self._pieces:
            self.taken += 1
            yield piece


def test_connection_is_used_again() -> None:
    async def run() -> None:
        async with serving(saying(OK)) as fake:
            client = upstream(fake.port)
            for _ in range(3):
                assert await text(client, Call("GET", "/a")) == b"200 ok"
            assert fake.count == 1
            assert b"Authorization: " + SECRET.encode() in fake.heads[0]

    play(run())


def test_connection_that_the_server_closed_meanwhile_is_replaced() -> None:
    async def once(_: bytes, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(OK)
        await writer.drain()
        return False

    async def run() -> None:
        async with serving(once) as fake:
            client = upstream(fake.port)
            for _ in range(3):
                assert await text(client, Call("PUT", "/a", upload=Held(b"x"))) == b"200 ok"

    play(run())


def test_answer_that_was_not_read_does_not_become_the_next() -> None:
    async def run() -> None:
        long = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000
        async with serving(saying(long)) as fake:
            client = upstream(fake.port)
            for _ in range(3):
                async with client.call(Call("GET", "/a")) as answer:
                    assert answer.status == 200
            assert fake.count == 3

    play(run())


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_credential_does_not_follow_a_redirect_to_another_origin(status: int) -> None:
    async def run() -> None:
        async with serving(saying(OK)) as other:
            there = f"http://127.0.0.1:{other.port}/b?c=d"
            answer = f"HTTP/1.1 {status} X\r\nLocation: {there}\r\nContent-Length: 0\r\n\r\n"
            async with serving(saying(answer.encode())) as fake:
                allowing = upstream(fake.port, may_redirect=lambda _: True)
                call = Call("PROPFIND", "/a", upload=Held(b"<x/>"))
                assert await text(allowing, call) == b"200 ok"
                assert other.heads[0].startswith(b"PROPFIND /b?c=d HTTP/1.1")
                assert b"uthorization" not in other.heads[0]
                refusing = upstream(fake.port)
                assert (await text(refusing, call)).startswith(str(status).encode())
                assert len(other.heads) == 1

    play(run())


def test_redirect_within_the_origin_keeps_the_credential() -> None:
    async def script(
        head: bytes, _: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool | None:
        moved = b"HTTP/1.1 308 X\r\nLocation: /a/\r\nContent-Length: 0\r\n\r\n"
        writer.write(OK if head.startswith(b"PROPFIND /a/ ") else moved)
        return None

    async def run() -> None:
        async with serving(script) as fake:
            assert await text(upstream(fake.port), Call("PROPFIND", "/a")) == b"200 ok"
            assert SECRET.encode() in fake.heads[1]

    play(run())


def test_redirect_without_end_is_an_answer() -> None:
    async def run() -> None:
        moved = b"HTTP/1.1 302 X\r\nLocation: /a\r\nContent-Length: 0\r\n\r\n"
        async with serving(saying(moved)) as fake:
            assert await text(upstream(fake.port), Call("GET", "/a")) == b"302 "
            assert len(fake.heads) == 6

    play(run())


def test_upload_is_redirected_before_a_byte_is_sent() -> None:
    received: list[bytes] = []

    async def takes(
        _: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool | None:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        received.append(await reader.readexactly(6))
        writer.write(OK)
        return None

    async def run() -> None:
        async with serving(takes) as other:
            there = f"http://127.0.0.1:{other.port}/b"
            moved = f"HTTP/1.1 307 X\r\nLocation: {there}\r\nContent-Length: 0\r\n\r\n"
            async with serving(saying(moved.encode())) as fake:
                client = upstream(fake.port, may_redirect=lambda _: True)
                call = Call("PUT", "/a", upload=Pieces(b"abc", b"def", length=6))
                assert await text(client, call) == b"200 ok"
                assert b"Expect: 100-continue" in fake.heads[0]
        assert received == [b"abcdef"]

    play(run())


def test_upload_goes_on_where_nobody_says_continue() -> None:
    async def takes(
        head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool | None:
        assert b"Transfer-Encoding: chunked" in head
        sent = b"3\r\nabc\r\n3\r\ndef\r\n0\r\nX-Sum: 1\r\n\r\n"
        assert await reader.readexactly(len(sent)) == sent
        writer.write(OK)
        return None

    async def run() -> None:
        async with serving(takes) as fake:
            call = Call("PUT", "/a", upload=Pieces(b"abc", b"def", trailers=b"X-Sum: 1\r\n"))
            assert await text(upstream(fake.port), call) == b"200 ok"

    play(run())


def test_upload_that_is_refused_early_is_not_sent_to_its_end() -> None:
    async def refuses(
        _: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool | None:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await reader.readexactly(1000)
        writer.write(b"HTTP/1.1 507 Full\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfull")
        await writer.drain()
        return False

    async def run() -> None:
        async with serving(refuses) as fake:
            upload = Pieces(*[b"x" * 100_000] * 1000, length=100_000_000)
            assert await text(upstream(fake.port), Call("PUT", "/a", upload=upload)) == b"507 full"
            assert upload.taken < 1000

    play(run())


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"", "broken"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "broken"),
        (b"220 ftp.example.org ready\r\n\r\n", "protocol"),
    ],
)
def test_answer_that_is_none_says_why(answer: bytes, cause: str) -> None:
    async def script(_: bytes, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(answer)
        await writer.drain()
        return False

    async def run() -> None:
        async with serving(script) as fake:
            with pytest.raises(NoAnswer) as caught:
                await text(upstream(fake.port), Call("GET", "/a"))
            assert caught.value.cause == cause
            assert "c2VjcmV0" not in str(caught.value)

    play(run())


def test_body_that_breaks_off_is_an_error() -> None:
    async def script(_: bytes, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
        await writer.drain()
        return False

    async def run() -> None:
        async with serving(script) as fake:
            with pytest.raises(NoAnswer):
                await text(upstream(fake.port), Call("GET", "/a"))

    play(run())


def test_silent_server_is_given_up() -> None:
    async def script(
        _: bytes, __: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool | None:
        await asyncio.sleep(60)
        return None

    async def run() -> None:
        async with serving(script) as fake:
            begin = time.monotonic()
            with pytest.raises(NoAnswer) as caught:
                await text(upstream(fake.port, stall_seconds=0.2), Call("GET", "/a"))
            assert caught.value.cause == "timeout"
            assert time.monotonic() - begin < 5

    play(run())


def test_nobody_listens() -> None:
    async def run() -> None:
        async with serving(saying(OK)) as fake:
            pass
        with pytest.raises(NoAnswer) as caught:
            await text(upstream(fake.port), Call("GET", "/a"))
        assert caught.value.cause == "refused"

    play(run())


def test_proxy_is_asked_for_a_whole_url() -> None:
    async def run() -> None:
        async with serving(saying(OK)) as proxy:
            client = upstream(
                80,
                host="cloud.example.org",
                proxy=Origin("http", "127.0.0.1", proxy.port),
            )
            assert await text(client, Call("GET", "/a")) == b"200 ok"
            assert proxy.heads[0].startswith(b"GET http://cloud.example.org/a HTTP/1.1\r\n")

    play(run())


def test_proxy_that_refuses_a_tunnel_is_named() -> None:
    async def run() -> None:
        denied = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
        async with serving(saying(denied)) as proxy:
            client = upstream(
                443,
                "https",
                "cloud.example.org",
                proxy=Origin("http", "127.0.0.1", proxy.port),
            )
            with pytest.raises(NoAnswer, match="proxy answered 403") as caught:
                await text(client, Call("GET", "/a"))
            assert caught.value.cause == "proxy"
            assert proxy.heads[0].startswith(b"CONNECT cloud.example.org:443 HTTP/1.1\r\n")
            assert b"uthorization" not in proxy.heads[0]

    play(run())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a key and a certificate for localhost."""
    import datetime

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return file


def server_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_tls_is_checked_against_the_file_that_the_environment_names(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with serving(saying(OK), server_context(certificate)) as fake:
            with pytest.raises(NoAnswer, match="certificate") as caught:
                await text(upstream(fake.port, "https", "localhost"), Call("GET", "/a"))
            assert caught.value.cause == "tls"
            assert not fake.heads
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
            client = upstream(fake.port, "https", "localhost")
            assert await text(client, Call("GET", "/a")) == b"200 ok"
            assert await text(client, Call("GET", "/a")) == b"200 ok"
            assert fake.count == 1
            with pytest.raises(NoAnswer, match="certificate"):
                await text(upstream(fake.port, "https", "127.0.0.1"), Call("GET", "/a"))

    play(run())


def test_large_bodies_pass_through_tls_both_ways(certificate: Path) -> None:
    content = bytes(range(256)) * 40_000

    async def echoes(
        _: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool | None:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        taken = await reader.readexactly(len(content))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(taken))
        writer.write(taken)
        await writer.drain()
        return None

    async def run() -> None:
        tls = ssl.create_default_context(cafile=certificate)
        async with serving(echoes, server_context(certificate)) as fake:
            client = upstream(fake.port, "https", "localhost", tls=tls)
            call = Call("PUT", "/a", upload=Pieces(content, length=len(content)))
            async with client.call(call) as answer:
                assert await answer.text(len(content)) == content

    play(run())


def test_plain_http_on_a_tls_port_is_named() -> None:
    async def run() -> None:
        async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

        server = await asyncio.start_server(plain, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(NoAnswer, match="does not speak TLS"):
            await text(upstream(port, "https", "localhost"), Call("GET", "/a"))
        server.close()

    play(run())


@pytest.mark.parametrize(
    "url", ["ftp://a/", "http://", "http://user:pass@a/", "https:///x", "/relative"]
)
def test_url_that_is_no_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="HTTP"):
        Origin.of(url)
