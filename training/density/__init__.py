"""Density analysis: how crowded and how small the symbols of a data set are for the network.

Main path: :func:`report.analyze` → :func:`analysis.analyze_labels` → :func:`crowding.read_labels` →
:func:`simulated_augmentation.simulate_draws`; then :func:`fitting_batch.step_spec` describes a step
to :mod:`training.memory`, and :func:`recommendation.recommend` chooses settings.
"""
