"""Contents of a run folder: provenance, weights, and the state for resuming.

Main path: :mod:`~training.runs.run_folder` locks and empties the folder,
:mod:`~training.runs.provenance` records data, command and versions;
:mod:`~training.runs.checkpoint_files` writes weights and report after each epoch, with the state of
:mod:`~training.runs.resume_state`; :mod:`~training.runs.resumption` reads them again.
"""
