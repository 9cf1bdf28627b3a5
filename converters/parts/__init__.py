"""Parts of a conversion, so that it can be continued, and divided between machines.

A part is a number of consecutive annotation files with about :data:`plan.PART_PAGES` pages or more,
or as many pages of a DeepScoresV2 file with more of them.
Main path: :func:`plan.plan_parts` divides a conversion into parts, :func:`making.made_pages` yields
their pages: those of finished parts from disk (:mod:`~converters.parts.store`), others from
:func:`making.make_part`, here or in other processes. The folder ``.omr-parts`` in the new data set
contains a record of each finished part until the conversion is complete.
"""
