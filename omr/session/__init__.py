"""Sessions: several training runs from one file, checked together, resumable and compared.

Main path: :mod:`omr.session.spec` reads the runs, :mod:`omr.session.preflight` checks all of them,
:mod:`omr.session.running` trains and scores one run per process, and :mod:`omr.session.report`
writes the report after each run.
"""
