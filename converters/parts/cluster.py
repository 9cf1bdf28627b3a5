"""Work on the machines of a Dask cluster, through joblib's Dask backend."""

from collections.abc import Callable, Generator, Iterable
from importlib.util import find_spec
from typing import TypeVar

from class_maps import ConfigError, MissingExtraError
from converters.files.process_pool import in_current_folder

T = TypeVar("T")
R = TypeVar("R")

CONNECT_S = 10
"""Seconds within which the scheduler and its first worker must answer."""


def on_cluster(
    function: Callable[[T], R], items: Iterable[T], scheduler: str
) -> Generator[R, None, None]:
    """Yield ``function(item)`` for each item, in order, computed by the workers of a cluster.

    Args:
        function: Function to apply; can be pickled, and imported by the workers.
        items: Items; can be pickled.
        scheduler: Address of the scheduler, such as ``tcp://10.0.0.1:8786``.

    Raises:
        ConfigError: The scheduler cannot be reached, or has no workers.
        MissingExtraError: Dask is not installed.
    """
    if find_spec("distributed") is None:
        raise MissingExtraError(
            "--backend dask: needs Dask, which is not installed; pip install 'omr-toolkit[dask]'"
        )
    from distributed import Client
    from joblib import Parallel, delayed, parallel_config

    try:
        client = Client(scheduler, timeout=CONNECT_S)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"no Dask scheduler answers ({error}); start one with `dask scheduler`",
            option="--scheduler",
            value=scheduler,
        ) from error
    with client:
        if not client.scheduler_info()["workers"]:
            raise ConfigError(
                f"the scheduler has no workers; start some with `dask worker {scheduler}`",
                option="--scheduler",
                value=scheduler,
            )
        with parallel_config("dask"):
            task = delayed(in_current_folder(function))
            yield from Parallel(return_as="generator")(task(item) for item in items)
