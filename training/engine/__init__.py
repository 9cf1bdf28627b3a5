"""Training loop: Ultralytics' trainer with the changes that music pages need.

Main path: :mod:`~training.engine.inputs` opens weights and data once,
:mod:`~training.engine.omr_trainer` builds model, data and loss and runs the steps,
:mod:`~training.engine.callbacks` act around epochs, and :mod:`~training.engine.validator`
validates.
"""
