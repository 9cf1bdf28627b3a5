"""Memory of a training step: predicted without a GPU, or measured on the device.

Main path: :func:`batch_search.find_launch` → :func:`step.predict_step` →
:func:`fake_step.recorded_step` → :class:`timeline.Recorder`, which records the allocations of one
step. :func:`profile.profile_step` measures a real step instead.
"""
