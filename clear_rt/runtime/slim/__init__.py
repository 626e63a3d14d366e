"""The GPU without torch and Triton: memory, streams, graphs and our kernels as compiled ahead of time."""
