"""Memory of a training step: predicted without a GPU, or measured on the device."""
