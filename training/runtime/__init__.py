"""Process-wide matters of a training: devices, ranks, library loggers, and no network access."""
