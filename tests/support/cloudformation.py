"""template.yaml as AWS would have it: read, packaged, transformed, and created in moto.

What moto keeps is a whole process's, and other tests' S3 is there: so it is created in a
process of its own (`python cloudformation.py`, the parameters on stdin).
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
REGION = "eu-central-1"
BUCKET = "packaged"


def read() -> dict[str, Any]:
    """The template, as SAM reads it."""
    from samtranslator.yaml_helper import yaml_parse

    template: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text("utf-8"))
    return template


def transformed(**parameters: str) -> dict[str, Any]:
    """What AWS's own translator makes of it, once its zips are uploaded (`package`)."""
    from samtranslator.translator.transform import transform

    class NoPolicies:
        def load(self) -> dict[str, str]:
            return {}

    template = read()
    for resource in template["Resources"].values():
        for name in ("CodeUri", "ContentUri"):
            if name in (properties := resource.get("Properties", {})):
                properties[name] = f"s3://{BUCKET}/{Path(properties[name]).name}"
    values = {
        name: str(parameters.get(name, declared["Default"]))
        for name, declared in template["Parameters"].items()
    }
    values |= {"AWS::Region": REGION, "AWS::Partition": "aws", "AWS::StackName": "site"}
    made: dict[str, Any] = transform(template, values, NoPolicies())
    return made


def deployed(*deployments: dict[str, str]) -> list[dict[str, Any]]:
    """For each set of parameters: the transformed template, and what there is after moto's
    CloudFormation created it.
    """
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps(deployments),
        capture_output=True,
        text=True,
        check=False,
        env={"AWS_DEFAULT_REGION": REGION, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told: list[dict[str, Any]] = json.loads(done.stdout)
    return told


def created(parameters: dict[str, str]) -> dict[str, Any]:
    """What there is in moto after one deployment."""
    import boto3
    from moto import mock_aws

    template = transformed(**parameters)
    # moto knows no function URLs, and stumbles over an output that is one's attribute.
    known = {name: it for name, it in template["Outputs"].items() if name != "FunctionUrl"}
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            archive.writestr("lambda_handler.py", "")
        for name in ("function.zip", "layer.zip"):
            s3.put_object(Bucket=BUCKET, Key=name, Body=content.getvalue())
        stacks = boto3.client("cloudformation")
        stacks.create_stack(
            StackName="site",
            TemplateBody=json.dumps({**template, "Outputs": known}),
            Parameters=[
                {"ParameterKey": name, "ParameterValue": value}
                for name, value in parameters.items()
            ],
            Capabilities=["CAPABILITY_IAM"],
        )
        [stack] = stacks.describe_stacks(StackName="site")["Stacks"]
        iam = boto3.client("iam")
        [role] = (
            it["RoleName"]
            for it in iam.list_roles()["Roles"]
            if "lambda.amazonaws.com" in json.dumps(it["AssumeRolePolicyDocument"])
        )
        [function] = boto3.client("lambda").list_functions()["Functions"]
        return {
            "template": template,
            "status": stack["StackStatus"],
            "outputs": {it["OutputKey"]: it["OutputValue"] for it in stack["Outputs"]},
            "attached": iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"],
            "policies": iam.list_role_policies(RoleName=role)["PolicyNames"],
            "function": function,
            "log_groups": boto3.client("logs").describe_log_groups()["logGroups"],
        }


def main() -> None:
    """Deploy with each set of the parameters on stdin, and print what there is then."""
    print(json.dumps([created(parameters) for parameters in json.load(sys.stdin)], default=str))


if __name__ == "__main__":
    main()
