"""Secrets that stand elsewhere: in a variable, in a file, at AWS."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto import mock_aws
from moto.backends import get_backend

from efss_transfer.model.errors import ConfigurationError
from efss_transfer.site.secrets import Reference, SecretResolver, check_reference


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    # Only these two services are emptied: the S3 of the session's storages is moto's as well,
    # in this very process, and its bucket must outlive this.
    mocked = mock_aws()
    mocked.start(reset=False)
    try:
        yield
    finally:
        mocked.stop(remove_data=False)
        for service in ("secretsmanager", "ssm"):
            for account in get_backend(service).values():
                for backend in account.values():
                    backend.reset()


def test_secret_is_read_from_an_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "hush")
    assert SecretResolver().resolve({"env": "A_SECRET"}) == "hush"
    assert check_reference({"env": "A_SECRET"}) is None


@pytest.mark.parametrize("content", ["hush", "hush\n", "hush\r\n"])
def test_secret_is_read_from_a_file_without_its_line_end(tmp_path: Path, content: str) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content.encode())
    assert SecretResolver().resolve({"file": str(file)}) == "hush"
    assert check_reference({"file": str(file)}) is None


def test_changed_file_is_read_again(tmp_path: Path) -> None:
    file, known = tmp_path / "secret", SecretResolver()
    file.write_text("old")
    assert known.resolve({"file": str(file)}) == "old"
    file.write_text("new")
    assert known.resolve({"file": str(file)}) == "new"


def test_secret_is_read_from_the_parameter_store(aws: None) -> None:
    boto3.client("ssm").put_parameter(Name="/a/b", Value="hush", Type="SecureString")
    assert SecretResolver().resolve({"aws_ssm_parameter": "/a/b"}) == "hush"


def test_secret_is_read_from_secrets_manager(aws: None) -> None:
    client = boto3.client("secretsmanager")
    client.create_secret(Name="plain", SecretString="hush")
    client.create_secret(Name="object", SecretString=json.dumps({"key": "hush", "other": "no"}))
    assert SecretResolver().resolve({"aws_secrets_manager": "plain"}) == "hush"
    assert SecretResolver().resolve({"aws_secrets_manager": "object", "key": "key"}) == "hush"


def test_aws_secret_is_cached_for_five_minutes(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    client, known, clock = boto3.client("ssm"), SecretResolver(), [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    client.put_parameter(Name="p", Value="old", Type="SecureString")
    assert known.resolve({"aws_ssm_parameter": "p"}) == "old"
    client.put_parameter(Name="p", Value="new", Type="SecureString", Overwrite=True)
    assert known.resolve({"aws_ssm_parameter": "p"}) == "old"
    clock[0] += 301
    assert known.resolve({"aws_ssm_parameter": "p"}) == "new"


@pytest.mark.parametrize(
    "reference",
    [
        {"env": "NOT_THERE"},
        {"file": "/nonexistent/secret"},
        {"aws_ssm_parameter": "nope"},
        {"aws_secrets_manager": "nope"},
        {"aws_secrets_manager": "plain", "key": "nope"},
        {"vault": "x"},
    ],
)
def test_missing_secret_is_reported_by_its_reference(aws: None, reference: Reference) -> None:
    boto3.client("secretsmanager").create_secret(Name="plain", SecretString='{"a": "hush"}')
    with pytest.raises(ConfigurationError) as error:
        SecretResolver().resolve(reference)
    assert "hush" not in str(error.value)


@pytest.mark.parametrize("reference", [{"env": "NOT_THERE"}, {"file": "/nonexistent/secret"}])
def test_unusable_reference_is_found_without_resolving_it(reference: Reference) -> None:
    assert check_reference(reference)
