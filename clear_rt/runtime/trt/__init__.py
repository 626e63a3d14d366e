"""The `trt` engine: TensorRT's engines of a bundle and our compiled kernels, without torch and Triton."""
