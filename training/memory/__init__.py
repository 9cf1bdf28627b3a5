"""What a training step needs, before it runs."""
