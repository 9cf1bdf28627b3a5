"""Detection models: built by name, read from weights, and written.

Main path: :mod:`~training.models.zoo` finds the model file, :mod:`~training.models.checkpoints`
reads and writes weights, and :mod:`~training.models.transfer` initialises a model from weights.
"""
