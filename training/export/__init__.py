"""Export of trained models for other runtimes."""
