"""Detection heads for several groups of classes on one backbone, and their initial boxes.

Main path: :func:`settings.head_config.load` reads the groups →
:func:`training.models.transfer.set_head` → :func:`grouped.divided` replaces the model's head →
:func:`distance_bins.allow_below_zero` → :func:`size_prior.set_size_prior` before the first step.
"""
