"""The `efss-transfer` command."""
