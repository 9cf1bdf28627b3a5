"""Log of the file accesses of a Python process and its children.

Python imports this module at its start if the folder is in ``PYTHONPATH``; child processes inherit
that. The log contains one JSON object per line. Audit hooks do not see files that C code opens.
"""

import json
import os
import sys
from typing import Any

LOG_VARIABLE = "OMR_FILE_TRACE"
"""Environment variable with the log file."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
READS = {"os.listdir", "os.scandir"}
WRITES = {
    *("os.chmod", "os.chown", "os.link", "os.mkdir", "os.mkfifo", "os.remove", "os.rename"),
    *("os.rmdir", "os.setxattr", "os.symlink", "os.truncate", "os.utime", "sqlite3.connect"),
}
TWO_PATHS = {"os.link": (2, 3), "os.rename": (2, 3), "os.symlink": (2, 2)}
"""Events with two paths, and the arguments with the folders that they are relative to."""
FOLDER_ARGUMENT = {"os.chmod": 2, "os.chown": 3, "os.mkdir": 2, "os.remove": 1, "os.rmdir": 1}
"""Events with one path, and the argument with the folder that it is relative to."""
NETWORK = {
    *("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo"),
    *("socket.gethostbyname", "socket.gethostbyaddr"),
}
PROGRAMS = {"subprocess.Popen", "os.exec", "os.posix_spawn", "os.system"}


def _log(file: int, kind: str, what: str) -> None:
    record = {"pid": os.getpid(), "kind": kind, "what": what}
    os.write(file, f"{json.dumps(record)}\n".encode())


def _path(path: Any, folder: Any = -1) -> str | None:  # noqa: ANN401
    """Return the absolute path; None for a file that is open already."""
    if isinstance(path, int):
        return None
    name = os.fsdecode(path if path is not None else ".")
    if isinstance(folder, int) and folder >= 0:
        name = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), name)  # noqa: PTH115, PTH118
    return os.path.abspath(name)  # noqa: PTH100


def _accesses(event: str, args: tuple[Any, ...]) -> list[tuple[str, Any, Any]]:
    """List kind, path and folder of all accesses of an audit event."""
    if event == "os.mkdir" and os.path.isdir(args[0]):  # noqa: PTH112
        return []  # fails
    if event == "open":
        name, mode, flags = args
        if mode is None and not flags & WRITING and not os.path.isabs(name):  # noqa: PTH117
            return []  # by shutil.rmtree, relative to a folder that the event does not name
        return [("write" if flags & WRITING else "read", name, -1)]
    if event in READS:
        return [("read", args[0], -1)]
    if event in TWO_PATHS:
        first, second = TWO_PATHS[event]
        kind = "read" if event == "os.symlink" else "write"  # a link does not change its target
        return [(kind, args[0], args[first]), ("write", args[1], args[second])]
    if event in WRITES:
        at = FOLDER_ARGUMENT.get(event)
        return [("write", args[0], -1 if at is None else args[at])]
    return []


def install(log: str) -> None:
    """Append all accesses of this process and of those forked from it to a log."""
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        for kind, name, folder in _accesses(event, args):
            path = _path(name, folder)
            if path is not None:
                _log(file, kind, path)
        if event in NETWORK:
            address = [arg for arg in args if isinstance(arg, str | bytes | tuple | int)]
            _log(file, "network", f"{event} {address}")
        elif event in PROGRAMS:
            _log(file, "program", os.fsdecode(args[0]))
        elif event == "pickle.find_class":
            _log(file, "pickle", ".".join(args))

    sys.addaudithook(hook)


if LOG_VARIABLE in os.environ:
    install(os.environ[LOG_VARIABLE])
