"""Settings of a training run, declared without importing torch.

Main path: :class:`training.TrainingSettings` declares each setting once, with its type, default,
help and limits → :func:`setting.settings_of` lists the declarations → ``omr/settings_options.py``
turns them into command-line options, and :func:`yaml_file.read_settings` reads them from files.
:func:`head_config.load` reads the groups of classes that share a head, and :mod:`published` lists
the weights that come with omr.
:class:`training.config.TrainConfig` adds the checks that need the training code.
"""
