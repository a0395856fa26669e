"""A look of our own at FTP servers whose listings rclone may misread without a message."""
