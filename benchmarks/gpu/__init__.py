"""Measurements that need a GPU, run by ``run.sh``, with the last results in ``docs/gpu.md``."""
