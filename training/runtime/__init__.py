"""Process-wide settings of a training: devices, processes, library loggers, network access."""
