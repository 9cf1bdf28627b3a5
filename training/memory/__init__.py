"""What a training step needs of memory: computed without a GPU, or measured."""
