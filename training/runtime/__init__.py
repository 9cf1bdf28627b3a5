"""Runtime of a training: devices, processes, precision, NaN guard, loggers and network access.

Main path: importing :mod:`training` calls :func:`offline.block_network`; at the start of a training
:func:`devices.check_device`, :func:`distributed.check_ranks` and :func:`precision.resolved` check
and choose the devices and the precision; before each step :meth:`nan_guard.NanGuard.allows_step`
decides whether to take it.
"""
