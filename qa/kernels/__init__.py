"""Array kernels of the QAs: arrays and numbers in, arrays and numbers out."""
