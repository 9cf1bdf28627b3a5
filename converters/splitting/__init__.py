"""Division of data sets into splits, and search for what occurs in several splits.

Main path: :func:`dataset.split_dataset` → :func:`images.read_split_images` →
:func:`plan.plan` → :func:`stratified.divide`. :func:`leaks.find_leaks` checks existing splits.
"""
