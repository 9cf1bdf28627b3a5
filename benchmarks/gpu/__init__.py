"""Measurements that need a GPU: ``run.sh`` runs them, ``docs/gpu.md`` shows the last results."""
