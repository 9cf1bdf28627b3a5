"""Label assignment: which anchor point predicts which symbol.

A candidate pair is a ground-truth box and an anchor point inside the box, which may predict it.
Assigners compare a box with these points only, not with all points of the image.

To add an assigner, see :mod:`training.losses.assigner_factory`.

Main path: :func:`training.losses.assigner_factory.make_assigner` creates an assigner; its
``assign``, such as :meth:`task_aligned.SparseTaskAlignedAssigner.assign`, lists the pairs with
:meth:`candidate_pairs.CandidatePairs.of`, selects the positive ones, and returns an
:class:`assignment.Assignment`.
"""
