"""template.yaml: valid, transformed by AWS's own translator, created, least-privileged."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from efss_transfer.config.settings import known_variables
from efss_transfer.runtimes.aws import step_functions
from support import cloudformation
from support.storages import ROOT

# The template is transformed, and its stack created, in many variants.
pytestmark = pytest.mark.slow

SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:archive-AbCdEf"
PARAMETER = "arn:aws:ssm:eu-central-1:123456789012:parameter/archive"
KEY = "arn:aws:kms:eu-central-1:123456789012:key/1234"
FULL = {
    "SecretArns": SECRET,
    "ParameterArns": PARAMETER,
    "KeyArns": KEY,
    "SiteFile": "/opt/site.json",
    "Architecture": "arm64",
    "FanOut": "no",
    "AlarmTopic": "arn:aws:sns:eu-central-1:123456789012:alarms",
}


@pytest.fixture(scope="module")
def stacks() -> list[dict[str, Any]]:
    """Deployed with the defaults, and with every parameter set."""
    return cloudformation.deployed({}, FULL)


@pytest.fixture(scope="module")
def resources(stacks: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = stacks[0]["template"]["Resources"]
    return found


def of_type(resources: dict[str, Any], kind: str) -> dict[str, Any]:
    return {name: it for name, it in resources.items() if it["Type"] == kind}


def test_cfn_lint_finds_no_problem() -> None:
    linter = Path(sys.executable).with_name("cfn-lint")
    told = subprocess.run([linter, "-c", "I", "--", ROOT / "template.yaml"], capture_output=True)
    assert (told.returncode, told.stdout.decode(), told.stderr.decode()) == (0, "", "")


def test_stack_is_created_with_its_defaults(stacks: list[dict[str, Any]]) -> None:
    stack = stacks[0]
    assert stack["status"] == "CREATE_COMPLETE"
    function = stack["function"]
    assert (function["Handler"], function["Timeout"], function["MemorySize"]) == (
        "lambda_handler.handler",
        900,
        1024,
    )
    assert function["Runtime"] == "python3.11"
    assert function["EphemeralStorage"] == {"Size": 512}
    assert "Environment" not in function or function["Environment"]["Variables"] in ({}, None)
    assert sorted(stack["policies"]) == ["log", "trace"]
    group, machine_group = sorted(stack["log_groups"], key=lambda it: str(it["logGroupName"]))
    assert group["retentionInDays"] == machine_group["retentionInDays"] == 90
    assert machine_group["logGroupName"] == "/aws/vendedlogs/states/site"
    assert ":stateMachine:" in stack["outputs"]["FanOutArn"]
    assert stack["outputs"]["LogGroup"] == group["logGroupName"] == "/aws/lambda/site"
    assert stack["outputs"]["FunctionName"] == function["FunctionName"]


def test_stack_is_created_with_every_parameter_set(stacks: list[dict[str, Any]]) -> None:
    stack = stacks[1]
    assert stack["status"] == "CREATE_COMPLETE"
    assert sorted(stack["policies"]) == ["keys", "log", "parameters", "secrets", "trace"]
    assert stack["attached"] == []
    assert len(stack["log_groups"]) == 1
    assert "FanOutArn" not in stack["outputs"]
    variables = stack["function"]["Environment"]["Variables"]
    assert variables == {"EFSS_TRANSFER_SITE": "/opt/site.json"}
    assert variables.keys() <= known_variables()


def test_role_allows_only_what_the_function_uses(resources: dict[str, Any]) -> None:
    """Compares every statement; any other action or resource fails."""
    role = resources["Role"]
    assert role["Properties"].keys() == {
        "AssumeRolePolicyDocument",
        "Policies",
    }  # no managed policies
    [trust] = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust == {
        "Effect": "Allow",
        "Principal": {"Service": "lambda.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    inline = {it["PolicyName"]: it for it in role["Properties"]["Policies"]}
    conditional = {
        name: it
        for name, it in of_type(resources, "AWS::IAM::Policy").items()
        if it["Properties"]["Roles"] == [{"Ref": "Role"}]
    }
    assert {it["Condition"] for it in conditional.values()} == {
        "HasSecrets",
        "HasParameters",
        "HasKeys",
    }
    inline |= {it["Properties"]["PolicyName"]: it["Properties"] for it in conditional.values()}
    allowed = {name: it["PolicyDocument"]["Statement"] for name, it in inline.items()}
    via = [
        {"Fn::Sub": f"{service}.${{AWS::Region}}.${{AWS::URLSuffix}}"}
        for service in ("secretsmanager", "ssm")
    ]
    assert allowed == {
        "log": [
            {
                "Effect": "Allow",
                "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                "Resource": {"Fn::GetAtt": ["Log", "Arn"]},
            }
        ],
        "trace": [
            {
                "Effect": "Allow",
                "Action": ["xray:PutTelemetryRecords", "xray:PutTraceSegments"],
                "Resource": "*",
            }
        ],
        "secrets": [
            {
                "Effect": "Allow",
                "Action": "secretsmanager:GetSecretValue",
                "Resource": {"Ref": "SecretArns"},
            }
        ],
        "parameters": [
            {"Effect": "Allow", "Action": "ssm:GetParameter", "Resource": {"Ref": "ParameterArns"}}
        ],
        "keys": [
            {
                "Effect": "Allow",
                "Action": "kms:Decrypt",
                "Resource": {"Ref": "KeyArns"},
                "Condition": {"StringEquals": {"kms:ViaService": via}},
            }
        ],
    }
    # The role covers every AWS call of the code: only site/secrets.py makes any.
    code = (ROOT / "functions/efss_transfer/site/secrets.py").read_text()
    assert set(re.findall(r"\.(get_\w+)\(Name=|\.(get_\w+)\(SecretId=", code)) == {
        ("get_parameter", ""),
        ("", "get_secret_value"),
    }


def test_state_machine_may_invoke_the_function_and_start_itself(
    resources: dict[str, Any],
) -> None:
    role = resources["FanOutRole"]["Properties"]
    [trust] = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "states.amazonaws.com"}
    allowed = [(it["PolicyName"], it["PolicyDocument"]["Statement"]) for it in role["Policies"]]
    for it in of_type(resources, "AWS::IAM::Policy").values():
        if it["Properties"]["Roles"] == [{"Ref": "FanOutRole"}]:
            assert it["Condition"] == "HasFanOut"
            properties = it["Properties"]
            allowed.append((properties["PolicyName"], properties["PolicyDocument"]["Statement"]))
    statements = dict(allowed)
    assert statements.keys() == {"copy", "shards", "deliver-log"}
    assert statements["copy"] == [
        {
            "Effect": "Allow",
            "Action": "lambda:InvokeFunction",
            "Resource": {"Fn::GetAtt": ["Transfer", "Arn"]},
        }
    ]
    start, children = statements["shards"]
    assert (start["Action"], start["Resource"]) == (
        "states:StartExecution",
        {"Ref": "FanOutMachine"},
    )
    assert children["Action"] == ["states:DescribeExecution", "states:StopExecution"]
    assert children["Resource"]["Fn::Sub"].endswith(":execution:${FanOutMachine.Name}/*")
    [log] = statements["deliver-log"]
    assert {action.partition(":")[0] for action in log["Action"]} == {"logs"}


def test_state_machine_does_not_log_requests(resources: dict[str, Any]) -> None:
    machine = resources["FanOutMachine"]["Properties"]
    assert machine["LoggingConfiguration"]["IncludeExecutionData"] is False
    assert machine["StateMachineType"] == "STANDARD"  # an express workflow ends after five minutes
    states = cloudformation.read()["Resources"]["FanOutMachine"]["Properties"]["Definition"]
    processor = states["States"]["Shards"]["ItemProcessor"]
    assert processor["ProcessorConfig"] == {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
    most = cloudformation.read()["Parameters"]["ParallelShards"]["MaxValue"]
    assert most == step_functions.MOST_SHARDS


def test_only_iam_callers_may_invoke_the_function(resources: dict[str, Any]) -> None:
    [url] = of_type(resources, "AWS::Lambda::Url").values()
    assert url["Properties"]["AuthType"] == "AWS_IAM"
    assert url["Properties"]["InvokeMode"] == "BUFFERED"
    assert of_type(resources, "AWS::Lambda::Permission") == {}
    assert {it["Type"] for it in resources.values()} == {
        "AWS::CloudWatch::Alarm",
        "AWS::IAM::Policy",
        "AWS::IAM::Role",
        "AWS::Lambda::EventInvokeConfig",
        "AWS::Lambda::Function",
        "AWS::Lambda::LayerVersion",
        "AWS::Lambda::Url",
        "AWS::Logs::LogGroup",
        "AWS::Logs::MetricFilter",
        "AWS::StepFunctions::StateMachine",
    }


def test_function_has_limits_log_and_tracing(resources: dict[str, Any]) -> None:
    function = resources["Transfer"]["Properties"]
    assert function["ReservedConcurrentExecutions"]["Fn::If"][0] == "ReservesConcurrency"
    assert function["TracingConfig"] == {"Mode": "Active"}
    assert function["Architectures"] == [{"Ref": "Architecture"}]  # moto ignores both
    assert function["LoggingConfig"]["LogGroup"] == {"Ref": "Log"}
    [layer] = (n for n, it in resources.items() if it["Type"] == "AWS::Lambda::LayerVersion")
    assert {"Ref": layer} in function["Layers"]


def test_each_metric_has_an_alarm_and_each_alarm_the_topic(resources: dict[str, Any]) -> None:
    alarms = {
        name: it["Properties"] for name, it in of_type(resources, "AWS::CloudWatch::Alarm").items()
    }
    filters = of_type(resources, "AWS::Logs::MetricFilter")
    counted = {
        (json.dumps(it["MetricNamespace"]), it["MetricName"])
        for each in filters.values()
        for it in each["Properties"]["MetricTransformations"]
    }
    watched = {
        (json.dumps(it["Namespace"]), it["MetricName"])
        for it in alarms.values()
        if "Namespace" in it
    }
    assert counted == {it for it in watched if "AWS/Lambda" not in it[0]}
    assert {name for namespace, name in watched - counted} == {"Errors", "Throttles"}
    share, duration = alarms["DurationAlarm"]["Metrics"]
    assert share["Expression"] == {"Fn::Sub": "duration / (10 * ${TimeoutSeconds})"}
    assert duration["MetricStat"]["Metric"]["MetricName"] == "Duration"
    for alarm in alarms.values():
        assert alarm["AlarmActions"]["Fn::If"][:2] == ["HasAlarmTopic", [{"Ref": "AlarmTopic"}]]


def test_every_parameter_has_default_and_description() -> None:
    for name, parameter in cloudformation.read()["Parameters"].items():
        assert {"Default", "Description"} <= parameter.keys(), name


def test_parameters_in_the_docs_exist() -> None:
    parameters = cloudformation.read()["Parameters"]
    section = (ROOT / "deploy" / "README.md").read_text().partition("## AWS Lambda")[2]
    section = section.partition("\n## ")[0]
    named = set(re.findall(r"\b([A-Z][A-Za-z]+)=", section))
    assert {"Architecture", "ReservedConcurrency", "SiteFile", "SiteLayer"} <= named
    assert named <= parameters.keys()
    assert f"{parameters['MemoryMegabytes']['Default']} MB here" in section
    paths = re.findall(r"Uri: (\S+)", (ROOT / "template.yaml").read_text())
    assert set(paths) == {"dist/function.zip", "dist/layer.zip"}
