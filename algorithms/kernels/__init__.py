"""algorithms/kernels."""
