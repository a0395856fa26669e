"""Settings of the rclone engine."""

from __future__ import annotations

from pathlib import Path

from efss_transfer.config.rclone import configured_binary
from efss_transfer.config.settings import Settings


def test_standby_is_ignored_on_aws_lambda() -> None:
    environment = {"EFSS_TRANSFER_STANDBY": "1"}
    assert Settings.read(environment).rclone.standby
    on_lambda = environment | {"AWS_LAMBDA_FUNCTION_NAME": "copy"}
    assert not Settings.read(on_lambda).rclone.standby


def test_binary_is_known_before_the_other_settings_are_read() -> None:
    wrong = {"EFSS_TRANSFER_BOOT_SECONDS": "soon"}
    assert configured_binary(wrong) is None
    path = wrong | {"EFSS_TRANSFER_RCLONE": "/opt/rclone"}
    assert configured_binary(path) == Path("/opt/rclone")
