"""Process-wide settings of a training: devices, processes, library loggers, network access.

Main path: importing :mod:`training` calls :func:`offline.block_network`; at the start of a training
:func:`devices.check_device` and :func:`distributed.check_ranks` check the devices, and in each step
:func:`distributed.total_a_rank` sums over their processes.
"""
