"""AWS Lambda's handler under its public name, `efss_transfer.aws_lambda.handler`."""

from efss_transfer.runtimes.aws.handler import handler

__all__ = ["handler"]
