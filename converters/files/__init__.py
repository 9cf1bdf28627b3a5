"""Atomic writing of files and folders, overwrite protection, and the pool of worker processes.

Main path: :func:`overwriting.check_folder` → :func:`atomic_folder.atomic_folder`, whose content is
produced by :func:`process_pool.in_order`, as in :func:`converters.conversion.convert`. A lock of
:mod:`output_lock` protects every output while it is written.
"""
