"""Label assignment: which anchor point predicts which symbol.

A candidate pair is a ground-truth box and an anchor point inside it, which may therefore predict
it. Assigners compare a box with these points only, not with all points of the image.

A new assigner needs an entry in :data:`training.losses.assigners.ASSIGNERS`, which says what else.

Main path: :func:`training.losses.assigners.make_assigner` creates an assigner; its ``assign``, such
as :meth:`task_aligned.SparseTaskAlignedAssigner.assign`, lists the pairs with
:meth:`candidate_pairs.CandidatePairs.of`, selects the positive ones, and returns an
:class:`assignment.Assignment`.
"""
