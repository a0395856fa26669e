"""What the commands for operators share: `site check` and `init`."""
