"""What is counted, as Prometheus reads it."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from efss_transfer.model.result import Notification, NotificationError, Result, State, Totals
from efss_transfer.service.metrics import Metrics

NOW = datetime(2026, 11, 22, tzinfo=UTC)
RESULT = Result(State.SUCCEEDED, "rclone", Totals(3, 2, 1, 1000), NOW, NOW)


def numbers(metrics: Metrics) -> dict[str, float]:
    """Every sample, by its name and labels."""
    text, _ = metrics.exposed("")
    return {
        sample.name + str(sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_a_transfer_is_counted_with_its_files_and_bytes() -> None:
    metrics = Metrics()
    metrics.ended(RESULT, time.monotonic() - 2)
    failed = replace(RESULT, state=State.FAILED, code="quota_exceeded", totals=Totals())
    metrics.ended(failed, time.monotonic() - 4000)
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


def test_what_runs_is_counted_while_it_runs() -> None:
    metrics = Metrics()
    with metrics.running(), metrics.running():
        assert numbers(metrics)["efss_transfer_running_transfers[]"] == 2
    assert numbers(metrics)["efss_transfer_running_transfers[]"] == 0


def test_refusals_boots_and_notifications_are_counted() -> None:
    metrics = Metrics()
    metrics.refused("busy")
    metrics.booted("rclone", 0.15)
    metrics.ended(replace(RESULT, notification=Notification(1, 200)), time.monotonic())
    error = NotificationError("rejected", "x")
    metrics.ended(replace(RESULT, notification=Notification(3, 500, error)), time.monotonic())
    seen = numbers(metrics)
    assert seen["efss_transfer_refused_requests_total['busy']"] == 1
    assert seen["efss_transfer_engine_boot_seconds_bucket['0.2', 'rclone']"] == 1
    assert seen["efss_transfer_notifications_total['delivered']"] == 1
    assert seen["efss_transfer_notifications_total['rejected']"] == 1


def test_two_services_of_a_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.refused("busy")
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
def test_either_format_is_told_by_the_accept_header(accept: str, kind: str) -> None:
    metrics = Metrics()
    metrics.refused("busy")
    content, told = metrics.exposed(accept)
    assert told.startswith(kind + ";")
    if kind == "text/plain":
        assert numbers(metrics)
        assert content == metrics.exposed("")[0]
    else:
        read = openmetrics.text_string_to_metric_families(content.decode())  # type: ignore[no-untyped-call]
        assert list(read)
