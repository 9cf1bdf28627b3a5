"""Contents of a run folder: what the run was made from, and what it needs to resume.

Main path: :mod:`~training.runs.provenance` records data, command and versions;
:mod:`~training.runs.checkpoint_files` writes weights and report after each epoch, with the state
of :mod:`~training.runs.resume_state`.
"""
