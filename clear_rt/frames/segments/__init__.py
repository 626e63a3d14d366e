"""A video written in segments that outlive the process that made them, each encoded alone or copied."""
