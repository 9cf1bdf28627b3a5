"""Settings of a training, declared without importing torch.

Each setting has its type, default, help and limits in one place, :mod:`settings.training`. The
command line and configuration files are both read by these declarations, as :mod:`settings.setting`
describes; :mod:`training.config` adds the checks that need the training code.
"""
