"""`efss-transfer copy --shards`: side by side, by one service or several, with one result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml

from efss_transfer.engines.sharding import contains
from efss_transfer.model.result import Shard
from support import contract, faulty_webdav, http_servers, service_process
from support import storages as servers
from support.cli_user import unused_url
from support.service_process import Function
from support.storages import Storage, digest
from support.terminal import LISTENING

PROGRAM = Path(sys.executable).parent / "efss-transfer"
FILES = {f"{number % 5}/{number}.bin": f"{number}".encode() * 9 for number in range(30)}


def shell(url: str, **more: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "NO_PROXY": "127.0.0.1",
        "LANG": "C.UTF-8",
        "EFSS_TRANSFER_URL": url,
        **more,
    }


def run(words: list[Any], request: Any, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [PROGRAM, "run", *words, "-"],
        input=json.dumps(request),
        env=shell(**environment),
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done


def between(source: Storage, destination: Storage, **members: Any) -> dict[str, Any]:
    name = uuid.uuid4().hex
    return {
        "source": source.endpoint(name),
        "destination": destination.endpoint(name),
        **members,
    }


def fill(source: Storage, request: Any) -> dict[str, str]:
    return source.fill(request["source"]["path"], FILES)


def arrived(destination: Storage, request: Any) -> dict[str, str]:
    return destination.hashes(request["destination"]["path"])


def test_shards_give_one_merged_result(function: Function, webdav: Storage, s3: Storage) -> None:
    request = between(webdav, s3, id="all", options={"verify": "size"})
    hashes = fill(webdav, request)
    done = run(["--shards", "5", "--parallel", "3", "--json"], request, url=function.url)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    for event in events:
        assert contract.complaints("event", event) == []
    assert [event["event"] for event in events].count("started") == 1
    assert sorted(e["path"] for e in events if e["event"] == "file") == sorted(FILES)
    last = events[-1]
    assert (last["event"], last["state"], last["id"]) == ("result", "succeeded", "all")
    assert last["totals"] == {
        "files": {"transferred": 30, "skipped": 0, "failed": 0},
        "bytes": {"transferred": sum(map(len, FILES.values()))},
    }
    assert last["verification"]["checked"] == 30
    assert "shard" not in last
    assert arrived(s3, request) == hashes


@pytest.mark.slow
def test_auto_takes_the_number_of_shards_from_a_plan(
    function: Function, webdav: Storage, s3: Storage
) -> None:
    request = between(webdav, s3)
    hashes = fill(webdav, request)
    # 30 files at 1 a second are 30 s: more than twice seven tenths of 16 s.
    reckoned = {**request, "plan": {"files_per_second": 1, "rate": 1e6, "seconds": 16}}
    done = run(["--shards", "auto"], reckoned, url=function.url)
    assert done.returncode == 0, done.stderr
    assert "Copying 30 files in 3 shards." in done.stderr
    assert "30 files copied" in done.stdout
    assert arrived(s3, request) == hashes
    missing = {**request, "source": webdav.endpoint("there-is-no-such")}
    refused = run(["--shards", "auto"], missing, url=function.url)
    assert refused.returncode == 3, refused.stderr
    assert "source_not_found" in refused.stderr


@pytest.mark.slow
def test_shards_of_an_unreachable_service_go_to_the_others(
    function: Function, webdav: Storage, s3: Storage
) -> None:
    gone = unused_url()
    request = between(webdav, s3)
    hashes = fill(webdav, request)
    done = run(["--shards", "4", "--url", f"{gone},{function.url}"], request, url="http://x.test")
    assert done.returncode == 0, done.stderr
    assert "refused or closed the connection" in done.stderr
    assert "30 files copied" in done.stdout
    assert arrived(s3, request) == hashes
    nobody = run(["--shards", "2", "--retries", "0", "--url", gone], request, url="http://x.test")
    assert nobody.returncode == 5, nobody.stdout
    assert "service_unreachable" in nobody.stderr


def test_failed_shard_does_not_stop_the_others(function: Function, s3: Storage) -> None:
    lost = "2/7.bin"
    with faulty_webdav.serving() as dav:
        dav.fill("data", FILES)
        dav.fail("GET", f"/data/{lost}", faulty_webdav.status(403))
        name = uuid.uuid4().hex
        request = {"source": dav.storage.endpoint("data"), "destination": s3.endpoint(name)}
        done = run(["--shards", "4", "--json"], request, url=function.url)
    assert done.returncode == 6, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["state"] == "partial"
    assert last["totals"]["files"] == {"transferred": 29, "skipped": 0, "failed": 1}
    [group] = last["errors"]
    assert (group["code"], group["count"], group["samples"][0]["path"]) == (
        "permission_denied",
        1,
        lost,
    )
    expected = {path: digest(content) for path, content in FILES.items() if path != lost}
    assert s3.hashes(f"bucket/{name}") == expected


@pytest.mark.slow
def test_refusal_is_reported_once_for_all_shards(function: Function, webdav: Storage) -> None:
    request = {"source": webdav.endpoint("a"), "destination": {"storage": "nowhere", "path": ""}}
    done = run(["--shards", "3"], request, url=function.url)
    assert done.returncode == 7, done.stderr
    assert done.stderr.count("forbidden") == 1
    odd = run(["--shards", "3"], {**request, "selection": 7}, url=function.url)
    assert odd.returncode == 2, odd.stderr
    assert "/selection" in odd.stderr


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--shards", "0"], "from 1 to"),
        (["--shards", "some"], "from 1 to"),
        (["--parallel", "2"], "--parallel needs --shards"),
        (["--shard", "3/3"], "counts from 0"),
        (["--shards", "2", "--shard", "0/2"], "either --shards or --shard"),
        (["--url", "http://127.0.0.1:1,http://127.0.0.1:2"], "Several services need --shards"),
    ],
)
def test_contradicting_options_exit_with_2(words: list[str], text: str) -> None:
    done = run(words, {}, url="http://127.0.0.1:1")
    assert done.returncode == 2
    assert text in done.stderr


@pytest.mark.slow
def test_ctrl_c_cancels_all_shards(function: Function, s3: Storage) -> None:
    with http_servers.slow_source(40_000_000, 100_000, files=12) as slow:
        name = uuid.uuid4().hex
        request = {"source": slow.endpoint("data"), "destination": s3.endpoint(name)}
        with subprocess.Popen(
            [*LISTENING, PROGRAM, "run", "--shards", "4", "--json", "-"],
            env=shell(function.url),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(request))
            process.stdin.close()
            for line in process.stdout:
                told = json.loads(line)
                if told["event"] == "progress" and len(told["in_flight"]) > 4:
                    break
            process.send_signal(signal.SIGINT)
            rest = process.stdout.read()
            assert process.wait(30) == 130
        function.wait_clean(20)
    assert json.loads(rest.splitlines()[-1])["code"] == "cancelled"
    assert s3.hashes(f"bucket/{name}") == {}


@pytest.mark.slow
def test_incomplete_shard_is_resumed(function: Function, s3: Storage) -> None:
    with faulty_webdav.serving() as dav:
        dav.fill("data", FILES)
        slow = "3/8.bin"
        [index] = [index for index in range(3) if contains(Shard(index, 3), slow)]
        dav.fail("GET", f"/data/{slow}", faulty_webdav.stall(), times=1)
        name = uuid.uuid4().hex
        request = {
            "source": dav.storage.endpoint("data"),
            "destination": s3.endpoint(name),
            "options": {"deadline_seconds": 8},
        }
        done = run(["--shards", "3"], request, url=function.url)
    assert done.returncode == 0, done.stderr
    assert (
        f"Shard {index}/3: The service's time limit was reached. Resuming: invocation 2."
        in done.stderr
    )
    assert "30 files copied" in done.stdout
    assert "0 skipped" in done.stdout


@pytest.mark.slow
def test_local_shards_wait_for_a_free_slot(webdav: Storage, s3: Storage, tmp_path: Path) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir()
    site = tmp_path / "site.json"
    site.write_text(json.dumps(service_process.LOOPBACK))
    request = between(webdav, s3)
    hashes = fill(webdav, request)
    done = run(
        ["--local", "--shards", "5", "--parallel", "4", "--retries", "0"],
        request,
        url="",
        EFSS_TRANSFER_SITE=str(site),
        EFSS_TRANSFER_RUNTIME_DIR=str(runtime),
        EFSS_TRANSFER_CONCURRENT_TRANSFERS="2",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "30 files copied" in done.stdout
    assert arrived(s3, request) == hashes
    service_process.wait_clean(runtime, 15)


@pytest.mark.slow
def test_merge_reports_shards_without_a_result(
    function: Function, webdav: Storage, s3: Storage, tmp_path: Path
) -> None:
    request = between(webdav, s3)
    hashes = fill(webdav, request)
    results = []
    for index in range(3):
        result = tmp_path / f"{index}.json"
        done = run(
            ["--shard", f"{index}/3", "--result", result, "--quiet"], request, url=function.url
        )
        assert done.returncode == 0, done.stderr
        results.append(result)
    assert arrived(s3, request) == hashes

    def merge(*words: Any, given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAM, "merge", *words], input=given, capture_output=True, text=True, timeout=60
        )

    done = merge("--json", *results)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert contract.complaints("result", told) == []
    assert (told["state"], told["totals"]["files"]["transferred"]) == ("succeeded", 30)
    # As Pods leave them: a line each, and of one that was killed something else, or nothing.
    lines = [results[0].read_text(), "\n", "OOMKilled\n", results[2].read_text()]
    done = merge("-", given="".join(lines))
    assert done.returncode == 5, done.stdout
    assert "1 of 3 shards reported no result" in done.stdout
    assert "Some files were not copied" in done.stdout
    assert "1 document is not a result" in done.stderr
    assert merge("-", given="nothing").returncode == 2


@pytest.mark.slow
def test_kubernetes_job_copies_and_merges_its_shards(
    webdav: Storage, s3: Storage, tmp_path: Path
) -> None:
    """Its command with its arguments, for three indexes; paths are this test's."""
    file = servers.ROOT / "deploy" / "kubernetes-job.yaml"
    [job] = [it["spec"] for it in yaml.safe_load_all(file.read_text()) if it["kind"] == "Job"]
    [container] = job["template"]["spec"]["containers"]
    request = between(webdav, s3)
    hashes = fill(webdav, request)
    (tmp_path / "request.json").write_text(json.dumps(request))
    (tmp_path / "site.json").write_text(json.dumps(service_process.LOOPBACK))
    runtime = tmp_path / "run"
    runtime.mkdir()
    environment = {it["name"]: it.get("value", "") for it in container["env"]}
    environment |= {
        "EFSS_TRANSFER_SITE": str(tmp_path / "site.json"),
        "EFSS_TRANSFER_RUNTIME_DIR": str(runtime),
        "PATH": os.environ["PATH"],
    }
    messages = tmp_path / "messages"
    with messages.open("w") as gathered:
        for index in range(3):
            log = tmp_path / "termination-log"
            log.write_text("")  # it is there before the Pod runs
            changes = {
                "/opt/efss-transfer/bin/efss-transfer": str(PROGRAM),
                "$(JOB_COMPLETION_INDEX)": str(index),
                f"/{job['completions']}": "/3",
                "/dev/termination-log": str(log),
                "/etc/efss-transfer-request": str(tmp_path),
            }
            words = [*container["command"], *container["args"]]
            for old, new in changes.items():
                assert any(old in word for word in words), old
                words = [word.replace(old, new) for word in words]
            done = subprocess.run(
                words, env=environment, capture_output=True, text=True, timeout=100
            )
            assert done.returncode == 0, done.stderr
            assert 0 < log.stat().st_size <= 4096
            gathered.write(log.read_text() + "\n")
    assert arrived(s3, request) == hashes
    done = subprocess.run(
        [PROGRAM, "merge", "-"], input=messages.read_text(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "30 files copied" in done.stdout
    service_process.wait_clean(runtime, 15)
