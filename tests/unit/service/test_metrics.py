"""The metrics, parsed as Prometheus parses them."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from efss_transfer.model.notification import Notification, NotificationError
from efss_transfer.model.result import Result, State, Totals
from efss_transfer.service.metrics import Metrics

NOW = datetime(2026, 11, 22, tzinfo=UTC)
RESULT = Result(State.SUCCEEDED, "rclone", Totals(3, 2, 1, 1000), NOW, NOW)


def numbers(metrics: Metrics) -> dict[str, float]:
    """Every sample, by its name and labels."""
    text, _ = metrics.render("")
    return {
        sample.name + str(sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_finished_transfer_counts_its_files_bytes_and_duration() -> None:
    metrics = Metrics()
    metrics.observe_transfer(RESULT, time.monotonic() - 2)
    failed = replace(RESULT, state=State.FAILED, code="quota_exceeded", totals=Totals())
    metrics.observe_transfer(failed, time.monotonic() - 4000)
    seen = numbers(metrics)
    assert seen["efss_transfer_transfers_total['none', 'succeeded']"] == 1
    assert seen["efss_transfer_transfers_total['failed', 'quota_exceeded']"] == 1
    assert seen["efss_transfer_files_total['transferred']"] == 3
    assert seen["efss_transfer_files_total['skipped']"] == 2
    assert seen["efss_transfer_files_total['failed']"] == 1
    assert seen["efss_transfer_transferred_bytes_total[]"] == 1000
    assert seen["efss_transfer_transfer_duration_seconds_bucket['1.0', 'succeeded']"] == 0
    assert seen["efss_transfer_transfer_duration_seconds_bucket['2.5', 'succeeded']"] == 1
    assert seen["efss_transfer_transfer_duration_seconds_bucket['3600.0', 'failed']"] == 0
    assert seen["efss_transfer_transfer_duration_seconds_bucket['7200.0', 'failed']"] == 1


def test_running_gauge_counts_transfers_while_they_run() -> None:
    metrics = Metrics()
    with metrics.running(), metrics.running():
        assert numbers(metrics)["efss_transfer_running_transfers[]"] == 2
    assert numbers(metrics)["efss_transfer_running_transfers[]"] == 0


def test_looks_are_counted_by_kind_and_code_with_their_duration() -> None:
    metrics = Metrics()
    metrics.observe_look("list", None, 0.2)
    metrics.observe_look("check", "authentication_failed", 3)
    seen = numbers(metrics)
    assert seen["efss_transfer_looks_total['list', 'none']"] == 1
    assert seen["efss_transfer_looks_total['authentication_failed', 'check']"] == 1
    assert seen["efss_transfer_look_duration_seconds_bucket['0.25', 'list']"] == 1
    assert seen["efss_transfer_look_duration_seconds_bucket['2.5', 'check']"] == 0
    assert seen["efss_transfer_look_duration_seconds_bucket['5.0', 'check']"] == 1
    assert "efss_transfer_transfers_total['none', 'succeeded']" not in seen


def test_refusals_boots_and_notifications_are_counted() -> None:
    metrics = Metrics()
    metrics.count_refusal("busy")
    metrics.observe_boot("rclone", 0.15)
    metrics.observe_transfer(replace(RESULT, notification=Notification(1, 200)), time.monotonic())
    error = NotificationError("rejected", "x")
    metrics.observe_transfer(
        replace(RESULT, notification=Notification(3, 500, error)), time.monotonic()
    )
    seen = numbers(metrics)
    assert seen["efss_transfer_refused_requests_total['busy']"] == 1
    assert seen["efss_transfer_engine_boot_seconds_bucket['0.2', 'rclone']"] == 1
    assert seen["efss_transfer_notifications_total['delivered']"] == 1
    assert seen["efss_transfer_notifications_total['rejected']"] == 1


def test_two_services_in_one_process_count_separately() -> None:
    one, other = Metrics(), Metrics()
    one.count_refusal("busy")
    assert "efss_transfer_refused_requests_total['busy']" not in numbers(other)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "text/plain"),
        ("*/*", "text/plain"),
        ("text/html", "text/plain"),
        ("application/openmetrics-text", "application/openmetrics-text"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text"),
        ("application/openmetrics-text; version=x", "application/openmetrics-text"),
        ("text/plain; version=one", "text/plain"),
        ("text/plain;version=1.0.0;escaping=nonsense", "text/plain"),
    ],
)
def test_accept_header_selects_the_format(accept: str, kind: str) -> None:
    metrics = Metrics()
    metrics.count_refusal("busy")
    content, content_type = metrics.render(accept)
    assert content_type.startswith(kind + ";")
    if kind == "text/plain":
        assert numbers(metrics)
        assert content == metrics.render("")[0]
    else:
        read = openmetrics.text_string_to_metric_families(content.decode())  # type: ignore[no-untyped-call]
        assert list(read)
