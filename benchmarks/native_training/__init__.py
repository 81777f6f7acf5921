"""The standard network's training step in PyTorch with kernels of its own, for CPUs with AVX2 and more."""
