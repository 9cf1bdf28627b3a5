"""What a training step needs in memory: reckoned without a GPU, or measured on the device."""
