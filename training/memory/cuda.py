"""CUDA memory besides the tensors: gaps of torch's allocator, and workspaces of libraries.

Every constant comes from the source cited with it; none is measured or fitted. The CUDA context,
the memory that the driver takes for a process, is not included, because it depends on GPU and
driver and is not documented.
"""

import math
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

MIB = 2**20
ROUNDING = 512
"""Granularity of tensors in bytes; ``kMinBlockSize`` in c10/cuda/CUDACachingAllocator.cpp, like the
next five."""
SMALL = 1 * MIB
"""Largest tensor that shares a small segment; ``kSmallSize``."""
SMALL_SEGMENT = 2 * MIB
"""Size of a segment of small tensors; ``kSmallBuffer``."""
LARGE_SEGMENT = 20 * MIB
"""Size of a segment of tensors below ``MIN_OWN_SEGMENT``; ``kLargeBuffer``."""
MIN_OWN_SEGMENT = 10 * MIB
"""Smallest tensor that gets a segment of its own size; ``kMinLargeAlloc``."""
SEGMENT_ROUNDING = 2 * MIB
"""Granularity of such a segment; ``kRoundLarge``."""
PRECISION = 0.001
"""Relative precision of :func:`min_reserved_bytes`."""
CUBLAS_WORKSPACE = 32 * MIB
"""Workspace of matrix products: NVIDIA's recommendation for Hopper and newer, which torch follows;
older GPUs take 4 to 8 MiB. https://docs.nvidia.com/cuda/cublas/index.html#cublassetworkspace"""


def cudnn_workspace(tensors: Iterable[Tensor]) -> int:
    """Estimate the workspace of a convolution in bytes.

    Tensor cores compute on channels-last tensors (NHWC). cuDNN copies tensors in any other order
    before and after, single precision included, because torch lets convolutions use TF32.

    Args:
        tensors: Inputs and outputs of the convolution.

    Source: https://docs.nvidia.com/deeplearning/performance/dl-performance-convolutional/, "Tensor
    layouts in memory".
    """
    return sum(
        tensor.numel() * tensor.element_size()
        for tensor in tensors
        if tensor.dim() == 4 and not tensor.is_contiguous(memory_format=torch.channels_last)
    )


def min_reserved_bytes(sizes: Sequence[int], events: Sequence[int]) -> int:
    """Find the least memory with which torch's allocator can run a step.

    The allocator requests segments from the GPU and keeps them when they become free. When the GPU
    has no memory left it releases the free segments, and fails only if that is not enough. So this
    function searches for the lowest limit that does not fail. Small tensors share segments that are
    never released.

    Args:
        sizes: Bytes of each storage, multiples of ``ROUNDING``.
        events: Allocations and releases, see :class:`training.memory.timeline.Timeline`.

    Returns:
        Bytes, to within a thousandth.
    """
    small, large = (
        [e for e in events if (sizes[abs(e) - 1] > SMALL) == big] for big in (False, True)
    )
    too_little, enough = 0, peak_reserved_bytes(sizes, large)
    while enough - too_little > PRECISION * enough:
        limit = (enough + too_little) // 2
        try:
            peak_reserved_bytes(sizes, large, limit)
        except MemoryError:
            too_little = limit
        else:
            enough = limit
    return enough + peak_reserved_bytes(sizes, small)


def peak_reserved_bytes(
    sizes: Sequence[int], events: Sequence[int], limit: float = math.inf
) -> int:
    """Simulate torch's allocator, and return the maximum total size of its segments.

    Args:
        sizes: Bytes of each storage, multiples of ``ROUNDING``.
        events: Allocations and releases, see :class:`training.memory.timeline.Timeline`.
        limit: Bytes available on the GPU.

    Raises:
        MemoryError: The limit is exceeded.
    """
    segments = Segments(limit)
    pools = Pool(segments, small=True), Pool(segments, small=False)
    blocks: dict[int, Block] = {}
    for event in events:
        storage = abs(event) - 1
        size = sizes[storage]
        if size == 0:
            continue
        pool = pools[size > SMALL]
        if event < 0:
            pool.release(blocks.pop(storage))
            continue
        block = pool.allocate(size)
        if block is None:  # out of memory: release all free segments, and try again
            for each in pools:
                each.release_free_segments()
            block = pool.allocate(size)
        if block is None:
            raise MemoryError(f"{limit} bytes are not enough")
        blocks[storage] = block
    return segments.peak


@dataclass(slots=True)
class Segments:
    """Total size of all segments, within a limit."""

    limit: float
    current: int = 0
    peak: int = 0
    next_address: int = 0
    """Address of the next segment, the total size of all segments ever made."""

    def add(self, size: int) -> int | None:
        """Make a segment, and return its address; None if the limit would be exceeded."""
        if self.current + size > self.limit:
            return None
        self.current += size
        self.peak = max(self.peak, self.current)
        self.next_address += size
        return self.next_address - size


@dataclass(slots=True, eq=False)
class Block:
    """Part of a segment, free or in use."""

    size: int
    address: int
    """Start address; blocks of different segments are never neighbours."""
    before: "Block | None" = None
    after: "Block | None" = None
    free: bool = False


@dataclass(slots=True, eq=False)
class Pool:
    """Segments of small or of large tensors; allocation takes the smallest free block that fits."""

    segments: Segments
    small: bool
    free_sizes: list[tuple[int, int]] = field(default_factory=list)
    """Size and address of each free block, sorted."""
    free_blocks: dict[int, Block] = field(default_factory=dict)
    """Free blocks by address."""

    def allocate(self, size: int) -> Block | None:
        """Allocate a block for a tensor; None if the GPU has no memory left.

        Args:
            size: Bytes, a multiple of ``ROUNDING``.
        """
        index = bisect_left(self.free_sizes, (size, 0))
        if index < len(self.free_sizes):
            _, address = self.free_sizes.pop(index)
            block = self.free_blocks.pop(address)
            block.free = False
        else:
            segment = self._new_segment(size)
            if segment is None:
                return None
            block = segment
        rest = block.size - size
        if rest >= ROUNDING if self.small else rest > SMALL:
            self._split(block, size)
        return block

    def release(self, block: Block) -> None:
        """Free a block, and join it with free neighbours."""
        for other in (block.before, block.after):
            if other is not None and other.free:
                self._remove(other)
                _join(block, other)
        self._add(block)

    def release_free_segments(self) -> None:
        """Return entirely free segments to the GPU."""
        for block in [*self.free_blocks.values()]:
            if block.before is None and block.after is None:
                self._remove(block)
                self.segments.current -= block.size

    def _new_segment(self, size: int) -> Block | None:
        if self.small:
            segment_size = SMALL_SEGMENT
        elif size < MIN_OWN_SEGMENT:
            segment_size = LARGE_SEGMENT
        else:
            segment_size = -(-size // SEGMENT_ROUNDING) * SEGMENT_ROUNDING
        address = self.segments.add(segment_size)
        return None if address is None else Block(size=segment_size, address=address)

    def _split(self, block: Block, size: int) -> None:
        rest = Block(
            size=block.size - size, address=block.address + size, before=block, after=block.after
        )
        if rest.after is not None:
            rest.after.before = rest
        block.size, block.after = size, rest
        self._add(rest)

    def _add(self, block: Block) -> None:
        block.free = True
        self.free_blocks[block.address] = block
        insort(self.free_sizes, (block.size, block.address))

    def _remove(self, block: Block) -> None:
        del self.free_blocks[block.address]
        self.free_sizes.pop(bisect_left(self.free_sizes, (block.size, block.address)))


def _join(block: Block, other: Block) -> None:
    """Extend a block by its neighbour, before or after it."""
    if other is block.before:
        block.address, block.before = other.address, other.before
        if block.before is not None:
            block.before.after = block
    else:
        block.after = other.after
        if block.after is not None:
            block.after.before = block
    block.size += other.size
