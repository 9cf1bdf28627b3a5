"""Time of the parts of a training step.

:mod:`~training.profiling.profile` measures training steps for ``omr profile``,
:mod:`~training.profiling.clock` times their parts on a CPU and on CUDA devices,
:mod:`~training.profiling.densities` selects batches with few and with many symbols, and
:mod:`~training.profiling.advice` chooses the change that saves most time.
"""
