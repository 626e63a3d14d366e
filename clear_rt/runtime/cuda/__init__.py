"""The `cuda` engine on a GPU: our kernels between torch's matrix products, replayed as CUDA graphs, one per shape."""
