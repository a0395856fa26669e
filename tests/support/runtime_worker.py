"""A worker of a FaaS runtime: `python runtime_worker.py azure|nuclio|openwhisk DESCRIPTOR`.

It loads the function as that runtime's worker does, with the runtime's own library where there
is one on PyPI, and answers each line of stdin with a line on that descriptor. OpenWhisk's protocol
is that very one, with 3 (docs/actions-actionloop.md of OpenWhisk); for the others a line is an HTTP
request, or an answer, whose body is base64.
"""

from __future__ import annotations

import base64
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

Worker = Callable[[Any], Any]


def azure() -> Worker:
    """Azure Functions, as its Python worker finds the function and encodes for the host."""
    from azure.functions import meta
    from azure.functions.http import HttpRequestConverter, HttpResponseConverter

    app = importlib.import_module("function_app").app
    [function] = app.get_functions()
    trigger = function.get_trigger().get_dict_repr()
    assert trigger["type"] == "httpTrigger"
    # All that the host routes to it by `{*path}`, which is the path without its first slash.
    assert trigger["route"] == "{*path}"
    assert trigger["authLevel"].name == "ANONYMOUS"
    assert not trigger.get("methods")

    def answer(asked: Any) -> Any:
        def text(value: str) -> Any:
            return meta.Datum(type="string", value=value)

        body = base64.b64decode(asked["body"])
        path = asked["path"].lstrip("/")
        request = HttpRequestConverter.decode(
            meta.Datum(
                type="http",
                value={
                    "method": text(asked["method"]),
                    "url": text("https://app.example.org/" + path),
                    "headers": {name: text(value) for name, value in asked["headers"].items()},
                    "query": {},
                    # The host leaves a parameter out that has nothing in it.
                    "params": {"path": text(path)} if path else {},
                    "body": meta.Datum(type="bytes", value=body),
                },
            ),
            trigger_metadata=None,
        )
        response = function.get_user_function()(request)
        sent = HttpResponseConverter.encode(response, expected_type=None).value
        return {
            "status": int(sent["status_code"].value),
            "headers": {name: value.value for name, value in sent["headers"].items()},
            "body": base64.b64encode(sent["body"].value).decode(),
        }

    return answer


def nuclio() -> Worker:
    """Nuclio, by its SDK: what its wrapper decodes, calls, and encodes."""
    import nuclio_sdk
    import nuclio_sdk.json_encoder
    from nuclio_sdk.event import EventDeserializerKinds

    module = importlib.import_module("nuclio_handler")
    context = nuclio_sdk.Context(worker_id=0)
    module.init_context(context)
    raw = os.environ.get("NUCLIO_PYTHON_DECODE_EVENT_STRINGS") == "disabled"
    kind = EventDeserializerKinds.msgpack_raw if raw else EventDeserializerKinds.msgpack

    def as_read(value: Any) -> Any:
        """As msgpack gives it where texts are not decoded."""
        if isinstance(value, dict):
            return {as_read(name): as_read(inner) for name, inner in value.items()}
        return value.encode() if isinstance(value, str) else value

    def answer(asked: Any) -> Any:
        body = base64.b64decode(asked["body"])
        message = {
            "body": body,
            "content_type": asked["headers"].get("Content-Type", ""),
            "fields": {},
            "headers": asked["headers"],
            "id": "one",
            "method": asked["method"],
            "num_shards": 0,
            "path": asked["path"],
            "shard_id": 0,
            "size": len(body),
            "timestamp": int(time.time()),
            "trigger": {"kind": "http", "name": "http"},
            "type": "",
            "type_version": "",
            "url": asked["path"],
            "version": "",
        }
        event = nuclio_sdk.Event.deserialize(as_read(message) if raw else message, kind)
        encode = nuclio_sdk.json_encoder.Encoder().encode
        output = module.handler(context, event)
        sent = json.loads(encode(nuclio_sdk.Response.from_entrypoint_output(encode, output)))
        assert sent["body_encoding"] == "base64"
        headers = {**sent["headers"], "Content-Type": sent["content_type"]}
        return {"status": sent["status_code"], "headers": headers, "body": sent["body"]}

    return answer


def openwhisk() -> Worker:
    """OpenWhisk: `value` is the argument, all else is told in the environment."""
    main = importlib.import_module("openwhisk_action").main

    def answer(line: Any) -> Any:
        for name, value in line.items():
            if name != "value":
                os.environ[f"__OW_{name.upper()}"] = str(value)
        return main(line["value"])

    return answer


def run(worker: Worker, descriptor: int) -> None:
    """Answer lines until there are no more."""
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        print(json.dumps({"ok": True}), file=out, flush=True)
        for line in sys.stdin:
            print(json.dumps(worker(json.loads(line))), file=out, flush=True)


if __name__ == "__main__":
    run({"azure": azure, "nuclio": nuclio, "openwhisk": openwhisk}[sys.argv[1]](), int(sys.argv[2]))
