"""Process that runs a command of a session, or its trials, and ends with the session's process.

Usage: ``python -m omr.child_process PARENT ARGUMENT...``, with the process id of the session, and
the arguments of ``omr``, or only ``trials``.
"""

import sys

from converters.files.process_pool import end_with_parent
from omr.session.child import TRIALS


def _main() -> None:
    parent, *arguments = sys.argv[1:]
    end_with_parent(int(parent))
    if arguments == [TRIALS]:
        from omr.session.trials import run_trials

        run_trials()
        return
    from omr.cli import main

    sys.argv = ["omr", *arguments]
    main()


if __name__ == "__main__":
    _main()
