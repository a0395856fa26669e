"""Looks at one storage without copying: lists a folder, and checks what the caller may do."""
