"""The training loop: Ultralytics' trainer with everything music pages need.

Main path: :mod:`~training.engine.omr_trainer` builds model, data and loss and runs the steps,
:mod:`~training.engine.callbacks` act around epochs, and :mod:`~training.engine.validator`
validates.
"""
