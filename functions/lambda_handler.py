"""The entry point of AWS Lambda (`lambda_handler.handler`); all else is in efss_transfer."""

from efss_transfer.aws_lambda import handler

__all__ = ["handler"]
