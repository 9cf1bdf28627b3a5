"""Building models without memory and random weights, on torch's ``meta`` device."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import batch_norm
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors


@dataclass(kw_only=True, slots=True)
class SizeLimit:
    """Largest size of a model; building a larger one stops before it takes time or memory."""

    calls: int
    """Functions of torch that may still be called."""
    values: int
    """Values that new tensors may still have."""
    most: int
    """Values that a single tensor may have."""

    def count(self, result: object, *, is_new: bool) -> None:
        """Count a function call and its result.

        Args:
            result: Result of the function.
            is_new: Whether the function created a tensor without reading others.

        Raises:
            ValueError: The limit is exceeded.
        """
        self.calls -= 1
        n_values = result.numel() if isinstance(result, Tensor) else 0
        if is_new:
            self.values -= n_values
        if self.calls < 0 or self.values < 0 or n_values > self.most:
            raise ValueError("describes a larger model than that of the tensors")


class MetaTensors(TorchFunctionMode):
    """Creates new floating-point tensors on the ``meta`` device.

    Args:
        real: Functions whose tensors get values nevertheless.
        limit: Largest size of what is built; None for no limit.
    """

    def __init__(self, real: set[Callable[..., Tensor]], limit: SizeLimit | None = None) -> None:
        super().__init__()
        self.real = real
        self.limit = limit

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        kwargs = dict(kwargs or {})
        is_new = func in _device_constructors()
        makes = is_new and func not in self.real
        if makes and kwargs.get("device") is None and kwargs.get("dtype") is not torch.int64:
            kwargs["device"] = "meta"
        if func is batch_norm and args[0].is_meta:
            # On meta, torch decomposes it into steps, which take two thirds of the time of a build.
            result = torch.empty_like(args[0])
        else:
            result = func(*args, **kwargs)
        if self.limit:
            self.limit.count(result, is_new=is_new)
        return result
