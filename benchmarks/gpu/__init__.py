"""What only a GPU can show: ``run.sh`` runs every step, ``docs/gpu.md`` shows the last results."""
