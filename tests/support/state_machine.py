"""template.yaml's state machine in moto's interpreter of the states language.

moto runs functions in Docker, or not at all; here each invocation is handed to whoever is
told by a URL, which answers as Lambda does. What moto keeps is a whole process's, so that it is
run in one of its own (`python state_machine.py`, what is to be run on stdin).
"""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

from support import cloudformation

ERROR = "x-amz-function-error"
_ENDED = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")
FUNCTION = f"arn:aws:lambda:{cloudformation.REGION}:123456789012:function:site-Transfer"


def definition(parallel: int) -> str:
    """As CloudFormation hands it to Step Functions, once SAM has made it of the template."""
    template = cloudformation.transformed(ParallelShards=str(parallel))
    properties = template["Resources"]["FanOutMachine"]["Properties"]
    [separator, lines] = properties["DefinitionString"]["Fn::Join"]
    text: str = separator.join(lines)
    assert properties["DefinitionSubstitutions"] == {
        "FunctionArn": {"Fn::GetAtt": ["Transfer", "Arn"]},
        "Parallel": {"Ref": "ParallelShards"},
    }
    # moto's grammar has a percentage with a point only; it is the same number.
    text, found = re.subn(r'("ToleratedFailurePercentage": 100)\b', r"\1.0", text)
    assert found == 1
    return text.replace("${FunctionArn}", FUNCTION).replace("${Parallel}", str(parallel))


def executed(given: Any, url: str, *, parallel: int, seconds: float = 240) -> dict[str, Any]:
    """What DescribeExecution says when it has ended; each invocation is POSTed to the URL."""
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps({"parallel": parallel, "input": given, "url": url}),
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "AWS_DEFAULT_REGION": cloudformation.REGION,
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
        },
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def main() -> None:
    """Run the execution on stdin, and print how it ended."""
    import boto3
    from moto import mock_aws
    from moto.awslambda_simple.models import LambdaSimpleBackend

    asked = json.load(sys.stdin)
    place = urlsplit(asked["url"])

    def invoke(
        _: Any, name: str, __: Any, body: Any, ___: Any, headers: dict[str, str]
    ) -> str | bytes | None:
        assert name == FUNCTION
        connection = http.client.HTTPConnection(place.netloc, timeout=200)
        connection.request("POST", "/", body.encode() if isinstance(body, str) else body)
        answer = connection.getresponse()
        if error := answer.getheader(ERROR):
            headers[ERROR] = error
        return answer.read()

    with (
        mock.patch.object(LambdaSimpleBackend, "invoke", invoke),
        mock_aws(
            config={
                "stepfunctions": {"execute_state_machine": True},
                "lambda": {"use_docker": False},
            }
        ),
    ):
        client = boto3.client("stepfunctions")
        machine = client.create_state_machine(
            name="fan-out",
            definition=definition(asked["parallel"]),
            roleArn="arn:aws:iam::123456789012:role/fan-out",
        )["stateMachineArn"]
        execution = client.start_execution(
            stateMachineArn=machine, input=json.dumps(asked["input"])
        )["executionArn"]
        while (told := client.describe_execution(executionArn=execution))["status"] not in _ENDED:
            time.sleep(0.1)
        if told["status"] != "SUCCEEDED":
            print(
                client.get_execution_history(executionArn=execution)["events"][-6:],
                file=sys.stderr,
            )
    print(json.dumps(told, default=str))


if __name__ == "__main__":
    main()
