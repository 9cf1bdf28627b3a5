"""Training of the detector and prediction with it: everything that needs torch.

Main path: :func:`trainer.train` → :meth:`engine.omr_trainer.OmrTrainer.train`, Ultralytics' loop,
which calls back :meth:`engine.omr_trainer.OmrTrainer._setup_train` →
:func:`losses.detection.detection_criterion` → :func:`losses.assigner_factory.make_assigner` →
:meth:`assigners.task_aligned.SparseTaskAlignedAssigner.assign`.
"""

import os

import joblib
import torch

import training.runtime.offline

_n_threads = os.environ.get("OMP_NUM_THREADS")
# Must run before any other import of this package: every module imports Ultralytics after this
# call, so that no import order gives it access to the network.
training.runtime.offline.block_network()
if not _n_threads:  # Ultralytics has just set it to 1, as if every machine had a GPU
    torch.set_num_threads(joblib.cpu_count())
