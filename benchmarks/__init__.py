"""Benchmarks, with the commands that reproduce their figures.

Main path: each benchmark is a module with a ``main`` that prints Markdown tables, copied to
``benchmarks/results/``; ``benchmarks/README.md`` lists them. :mod:`benchmarks.assigner` shows the
pattern: ``main`` → :func:`~benchmarks.assigner_measuring.measure` →
:data:`~benchmarks.assigner_tasks.TASKS`.
"""
