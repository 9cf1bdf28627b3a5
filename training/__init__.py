"""Training of the detector and prediction with it: everything that needs torch."""

import os

import joblib
import torch

import training.runtime.offline

_n_threads = os.environ.get("OMP_NUM_THREADS")
# First of all imports: every module of this package imports Ultralytics after this call, so that no
# import order gives it access to the network.
training.runtime.offline.block_network()
if not _n_threads:  # Ultralytics has just set it to 1, as if every machine had a GPU
    torch.set_num_threads(joblib.cpu_count())
