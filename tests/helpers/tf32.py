"""State of torch's switch for TF32, under its names before and since torch 2.9."""

from typing import Any

import torch


def tf32_is_on() -> bool:
    """Check whether fp32 convolutions may use TF32 on CUDA."""
    cudnn: Any = torch.backends.cudnn
    if hasattr(cudnn, "conv"):
        return bool(cudnn.conv.fp32_precision == "tf32")
    return bool(cudnn.allow_tf32)
