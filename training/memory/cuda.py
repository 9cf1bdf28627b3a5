"""What CUDA takes beside the tensors: torch's allocator, and the libraries' working memory.

All numbers here are those of the sources named beside them. None is measured, and none is fitted.
What the driver needs for a process (the CUDA context with its kernels) is not here: it depends on
GPU and driver, and no source gives it.
"""

import math
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

MIB = 2**20
ROUNDING = 512
"""Every tensor takes a multiple of it; ``kMinBlockSize`` in c10/cuda/CUDACachingAllocator.cpp, as
the four below."""
SMALL = 1 * MIB
"""Tensors up to this size share segments; ``kSmallSize``."""
SMALL_SEGMENT = 2 * MIB
"""``kSmallBuffer``."""
LARGE_SEGMENT = 20 * MIB
"""For tensors under ``LEAST_OWN``; ``kLargeBuffer``."""
LEAST_OWN = 10 * MIB
"""From here on a segment is made for the tensor; ``kMinLargeAlloc``."""
SEGMENT_ROUNDING = 2 * MIB
"""Of such a segment; ``kRoundLarge``."""
PRECISION = 0.001
"""Of :func:`least_reserved`."""
CUBLAS_WORKSPACE = 32 * MIB
"""Of matrix products. What NVIDIA recommends for Hopper and newer, and torch takes there; older
GPUs take 4 to 8 MiB. https://docs.nvidia.com/cuda/cublas/index.html#cublassetworkspace"""


def cudnn_workspace(tensors: Iterable[Tensor]) -> int:
    """Estimate the working memory of a convolution in bytes.

    Tensor cores compute on channels-last tensors (NHWC). cuDNN copies tensors of any other order
    before and after, also those in single precision: torch lets convolutions use TF32.

    Args:
        tensors: Inputs and outputs.

    Source: https://docs.nvidia.com/deeplearning/performance/dl-performance-convolutional/, "Tensor
    layouts in memory".
    """
    return sum(
        tensor.numel() * tensor.element_size()
        for tensor in tensors
        if tensor.dim() == 4 and not tensor.is_contiguous(memory_format=torch.channels_last)
    )


def least_reserved(sizes: Sequence[int], events: Sequence[int]) -> int:
    """Find with how much memory torch's allocator gets through a step, bytes.

    It asks the GPU for segments, and keeps those that are free. When there are no more it gives
    the free ones back, and fails only if that is not enough: what counts is the least with which
    it comes through, to a thousandth. Small tensors share segments that stay.

    Args:
        sizes: Bytes of each storage, multiples of ``ROUNDING``.
        events: As in :class:`training.memory.timeline.Timeline`.
    """
    small, large = (
        [e for e in events if (sizes[abs(e) - 1] > SMALL) == big] for big in (False, True)
    )
    too_little, enough = 0, reserved(sizes, large)
    while enough - too_little > PRECISION * enough:
        limit = (enough + too_little) // 2
        try:
            reserved(sizes, large, limit)
        except MemoryError:
            too_little = limit
        else:
            enough = limit
    return enough + reserved(sizes, small)


def reserved(sizes: Sequence[int], events: Sequence[int], limit: float = math.inf) -> int:
    """Replay torch's allocator, and give the most bytes that it holds at a time.

    Args:
        sizes: Bytes of each storage, multiples of ``ROUNDING``.
        events: As in :class:`training.memory.timeline.Timeline`.
        limit: Bytes of the GPU.

    Raises:
        MemoryError: They are not enough.
    """
    held = Held(limit)
    pools = Pool(held, small=True), Pool(held, small=False)
    blocks: dict[int, Block] = {}
    for event in events:
        place = abs(event) - 1
        size = sizes[place]
        if size == 0:
            continue
        pool = pools[size > SMALL]
        if event < 0:
            pool.give_back(blocks.pop(place))
            continue
        block = pool.take(size)
        if block is None:  # it is short
            for each in pools:
                each.empty()
            block = pool.take(size)
        if block is None:
            raise MemoryError(f"{limit} bytes are not enough")
        blocks[place] = block
    return held.most


@dataclass(slots=True)
class Held:
    """Bytes of all segments."""

    limit: float
    now: int = 0
    most: int = 0
    ends: int = 0
    """Of all segments that there ever were: where the next one begins."""

    def add(self, size: int) -> int | None:
        """Take a segment, and give its address; None if there is no room."""
        if self.now + size > self.limit:
            return None
        self.now += size
        self.most = max(self.most, self.now)
        self.ends += size
        return self.ends - size


@dataclass(slots=True, eq=False)
class Block:
    """A piece of a segment."""

    size: int
    begin: int
    """Address; segments never touch."""
    before: "Block | None" = None
    after: "Block | None" = None
    free: bool = False


@dataclass(slots=True, eq=False)
class Pool:
    """Segments for tensors of like size; the smallest free piece that is large enough is taken."""

    held: Held
    small: bool
    pieces: list[tuple[int, int]] = field(default_factory=list)
    """Size and address of what is free, in this order."""
    blocks: dict[int, Block] = field(default_factory=dict)
    """What is free, by its address."""

    def take(self, size: int) -> Block | None:
        """Find a place for a tensor, None if there is none; a multiple of ``ROUNDING``."""
        place = bisect_left(self.pieces, (size, 0))
        if place < len(self.pieces):
            _, begin = self.pieces.pop(place)
            block = self.blocks.pop(begin)
            block.free = False
        else:
            segment = self._segment(size)
            if segment is None:
                return None
            block = segment
        rest = block.size - size
        if rest >= ROUNDING if self.small else rest > SMALL:
            self._split(block, size)
        return block

    def give_back(self, block: Block) -> None:
        """Free a tensor's place, and join it with what is free beside it."""
        for other in (block.before, block.after):
            if other is not None and other.free:
                self._drop(other)
                _join(block, other)
        self._add(block)

    def empty(self) -> None:
        """Give back the segments that are free as a whole."""
        for block in [*self.blocks.values()]:
            if block.before is None and block.after is None:
                self._drop(block)
                self.held.now -= block.size

    def _segment(self, size: int) -> Block | None:
        if self.small:
            whole = SMALL_SEGMENT
        elif size < LEAST_OWN:
            whole = LARGE_SEGMENT
        else:
            whole = -(-size // SEGMENT_ROUNDING) * SEGMENT_ROUNDING
        begin = self.held.add(whole)
        return None if begin is None else Block(size=whole, begin=begin)

    def _split(self, block: Block, size: int) -> None:
        rest = Block(
            size=block.size - size, begin=block.begin + size, before=block, after=block.after
        )
        if rest.after is not None:
            rest.after.before = rest
        block.size, block.after = size, rest
        self._add(rest)

    def _add(self, block: Block) -> None:
        block.free = True
        self.blocks[block.begin] = block
        insort(self.pieces, (block.size, block.begin))

    def _drop(self, block: Block) -> None:
        del self.blocks[block.begin]
        self.pieces.pop(bisect_left(self.pieces, (block.size, block.begin)))


def _join(block: Block, other: Block) -> None:
    """Make one block of two neighbours."""
    if other is block.before:
        block.begin, block.before = other.begin, other.before
        if block.before is not None:
            block.before.after = block
    else:
        block.after = other.after
        if block.after is not None:
            block.after.before = block
    block.size += other.size
