"""Measurements that need a GPU, with the last results in ``docs/gpu.md``.

Main path: ``run.sh`` → :func:`run.main`, which runs each step, such as
:func:`benchmarks.gpu.assigner.main`, in a separate process; steps write their tables with
:mod:`~benchmarks.gpu.results`, and :func:`report.write` copies them into the page.
"""
