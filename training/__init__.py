"""Everything that needs torch: trains the detector and predicts with it."""

import os

import joblib
import torch

import training.runtime.offline

_asked = os.environ.get("OMP_NUM_THREADS")
# First of all imports: every module of this package reaches Ultralytics through here, so that
# no import order lets it look for the network.
training.runtime.offline.shut()
if not _asked:  # Ultralytics has just set it to 1, as if every machine had a GPU
    torch.set_num_threads(joblib.cpu_count())
