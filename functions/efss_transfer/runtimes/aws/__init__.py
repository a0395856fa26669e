"""The adapter for AWS Lambda and Step Functions."""
