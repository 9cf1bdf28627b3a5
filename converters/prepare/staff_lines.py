"""Staff space of a page, measured from its pixels.

Where a column of pixels crosses a staff, it meets several thin dark runs at equal distances. This
distance is the staff space. The runs are darker than the mean of a window around them. The window
that fits depends on the staff space and on blur, and the least contrast on noise, so that several
are tried: the right ones find the same distance again and again, the others find few.

Shapes: H rows and W sampled columns of a page, R dark runs in all columns, D distances.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

N_COLUMNS = 200
"""Maximum number of columns that are sampled."""
MAX_ROWS = 3600
"""Maximum height of these columns; taller pages are reduced, A4 at 300 dpi is not."""
MIN_SPACE_PX, MAX_SPACE_PX = 3.5, 150.0
"""Smallest and largest staff space that are recognised, on a page of ``MAX_ROWS`` or less; lines
closer together merge."""
REPEATS = 3
"""Number of equal distances in a row that count as a staff; five lines have four."""
SAME = 0.12
"""Relative difference up to which distances count as equal, and sizes of staves as one size."""
WINDOWS_PX = (15, 31, 61, 121)
"""Heights of the windows: each suits staff spaces of about half of it and below."""
CONTRASTS = (0.2, 0.4)
"""Least contrast of a line, as a fraction of the contrast of the darkest ink."""
MIN_CONTRAST = 3.0
"""Smallest difference in grey levels between a line and its surroundings."""
MIN_SHARE = 0.05
"""Number of equal distances per column from which a page has staves."""
OTHER_SHARE = 0.15
"""Fraction of the most frequent size from which another size of staves is reported."""
MAX_SPREAD = 0.06
"""Largest relative standard deviation of the distances of staves; that of noise is .07."""
CLEAR_SCORE, SIDE_SCORE, SIDE_FACTOR = 0.3, 0.05, 2.0
"""Score per column above which a page is surely upright, and below which there are no staves; and
the least ratio of the scores of the two directions that tells a page that lies on its side."""
CLOSE_LINES_PX = 4.0
"""Staff space below which a page is reported; below 3.5 px, lines merge and 2.6 px is taken for
3.7 px."""
NARROW_PAGE = 25
"""Width in staff spaces below which a page is reported: on whole pages, which are 110 and more
wide, merged lines make whole staves look like the lines of staves 4 to 18 times larger."""
LARGER = "use a scan of a higher resolution, or a higher --dpi for a PDF"
ON_SIDE = "its staff lines are vertical"
"""Remark on a page that lies on its side."""
TEXT_REPEATS, TEXT_CONTRAST, TEXT_SHARE = 5, 0.2, 0.7
"""Lines of text repeat more than five times at their distance, unlike lines of staves: the contrast
at five times the distance is at least this share of the contrast at the distance itself, which is
at least ``TEXT_CONTRAST``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StaffSpaces:
    """Staff spaces found on a page."""

    most: float
    """Most frequent staff space in pixels."""
    others: tuple[float, ...]
    """Other staff spaces on the page in pixels, most frequent first."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Candidate:
    """Equal distances between lines, found with one window and one contrast."""

    spaces: NDArray[np.float64]
    """Mean of every three equal distances in a row in a column, in pixels, shape ``(D,)``."""
    n_tried: int
    """Number of three distances in a row in all columns, equal or not."""

    @property
    def score(self) -> float:
        """Count of the most frequent distance, times its fraction of all distances."""
        n = int(_near(self.spaces, _mode(self.spaces)).sum())
        return n * n / self.n_tried


def measure_staff_space(page: NDArray[np.uint8]) -> StaffSpaces | None:
    """Measure the distance between adjacent staff lines.

    Args:
        page: Page with dark ink on light paper, shape ``(height, width)``, or in BGR order
            ``(height, width, 3)``.

    Returns:
        The staff spaces; None if no staves are found.
    """
    grey = _grey(page)
    columns = _columns(grey)
    candidates = _all_candidates(columns)
    best = _best(candidates)
    least = MIN_SHARE * len(columns)
    sizes = _sizes(best.spaces, least)[0] if best else []
    if not sizes or _is_text(columns, sizes[0]):
        return None
    factor = grey.shape[0] / columns.shape[1]
    others = _other_sizes(candidates, sizes[0], least)
    return StaffSpaces(most=sizes[0] * factor, others=tuple(size * factor for size in others))


def doubts(spaces: StaffSpaces, width: int) -> Iterator[str]:
    """Yield reasons to doubt the measured staff space of a page of ``width`` pixels."""
    if spaces.others:
        others = " and ".join(f"{space:.1f}" for space in spaces.others)
        yield f"staves of {spaces.most:.1f} px a space, and others of {others} px"
    if spaces.most < CLOSE_LINES_PX:
        apart = f"staff lines only {spaces.most:.1f} px apart"
        yield f"{apart}, too close to be read reliably; {LARGER}"
    if width < NARROW_PAGE * spaces.most:
        yield (
            f"only {width / spaces.most:.0f} staff spaces wide at the measured {spaces.most:.1f} "
            f"px; if it shows longer staves, their lines have merged: {LARGER}"
        )


def lies_on_side(page: NDArray[np.uint8]) -> bool:
    """Return whether the staff lines of a page are vertical: it is rotated by 90 or 270 degrees.

    Args:
        page: Page as for :func:`measure_staff_space`.
    """
    grey = _grey(page)
    upright = _score(grey)
    if upright > CLEAR_SCORE:
        return False
    turned = _score(np.ascontiguousarray(grey.T))
    return turned > max(SIDE_SCORE, SIDE_FACTOR * upright)


def _score(grey: NDArray[np.uint8]) -> float:
    """Return the score of the best candidate per column; 0 without candidates."""
    columns = _columns(grey)
    best = _best(_all_candidates(columns))
    return best.score / len(columns) if best else 0.0


def _grey(page: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a page as greyscale, shape ``(height, width)``."""
    return page if page.ndim == 2 else np.asarray(cv2.cvtColor(page, cv2.COLOR_BGR2GRAY), np.uint8)


def _columns(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Sample columns of a page, shape ``(W, H)``."""
    n_rows, n_columns = min(MAX_ROWS, grey.shape[0]), min(N_COLUMNS, grey.shape[1])
    sampled = cv2.resize(grey, (n_columns, n_rows), interpolation=cv2.INTER_AREA)
    columns = np.ascontiguousarray(np.asarray(sampled).T).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(columns, (3, 1), 0), np.float32)


def _all_candidates(columns: NDArray[np.float32]) -> list[_Candidate]:
    """Find equal distances with each window and contrast, without those that find too few."""
    return [
        candidate
        for window in WINDOWS_PX
        if window < columns.shape[1]
        for candidate in _candidates(columns, window)
        if len(candidate.spaces) >= MIN_SHARE * len(columns)
    ]


def _best(candidates: Sequence[_Candidate]) -> _Candidate | None:
    """Return the candidate with the highest score; None without candidates."""
    return max(candidates, key=lambda candidate: candidate.score, default=None)


def _other_sizes(candidates: Sequence[_Candidate], most: float, least: float) -> list[float]:
    """Return the other sizes of staves on a page, most frequent first.

    The best candidate may miss them: the lines of small staves are thin and pale. So a size counts
    if half of the candidates that agree on the most frequent size find it.
    """
    n_agreeing, pairs = 0, list[tuple[float, float]]()
    for candidate in candidates:
        sizes, counts = _sizes(candidate.spaces, least)
        if sizes and abs(sizes[0] / most - 1) <= SAME:
            n_agreeing += 1
            shares = zip(counts[1:], sizes[1:], strict=True)
            pairs += [(n / counts[0], size) for n, size in shares if n >= OTHER_SHARE * counts[0]]
    others: list[float] = []
    while pairs:
        size = max(pairs)[1]
        same = [other for _, other in pairs if abs(other / size - 1) <= SAME]
        if 2 * len(same) >= n_agreeing:
            others.append(float(np.mean(same)))
        pairs = [(share, other) for share, other in pairs if other not in same]
    return others


def _sizes(spaces: NDArray[np.float64], least: float) -> tuple[list[float], list[int]]:
    """Return the sizes of staves, most frequent first, and how often each occurs."""
    sizes: list[float] = []
    counts: list[int] = []
    while len(spaces):
        mode = _mode(spaces)
        near = spaces[_near(spaces, mode)]
        if len(near) < least:
            break
        if not sizes and near.std() > MAX_SPREAD * near.mean():
            break
        sizes.append(float(near[_near(near, float(np.median(near)), SAME / 2)].mean()))
        counts.append(len(near))
        spaces = spaces[~_near(spaces, mode, 2 * SAME)]
    return sizes, counts


def _candidates(columns: NDArray[np.float32], window: int) -> list[_Candidate]:
    """Find equal distances with one window and each contrast."""
    around = cv2.blur(columns, (window, 1), borderType=cv2.BORDER_REFLECT)
    depth = np.asarray(around - columns, np.float32)
    darkest = float(np.percentile(depth[::2, ::4], 98))
    return [
        _equal_distances(depth > max(MIN_CONTRAST, contrast * darkest)) for contrast in CONTRASTS
    ]


def _equal_distances(dark: NDArray[np.bool_]) -> _Candidate:
    """List the mean of every three equal distances between the centres of dark runs in a column.

    Args:
        dark: Dark pixels, one row per column of the page, shape ``(W, H)``.
    """
    padded = np.zeros((dark.shape[0], dark.shape[1] + 2), np.int8)
    padded[:, 1:-1] = dark
    steps = np.diff(padded.ravel())
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)  # (R,) each
    distances = np.diff((starts + ends) / 2)
    if len(distances) < REPEATS:
        return _Candidate(spaces=np.empty(0), n_tried=0)
    runs = np.lib.stride_tricks.sliding_window_view(distances, REPEATS)  # (R - 3, 3)
    means = runs.mean(axis=1)
    column = starts // padded.shape[1]
    is_in_column = column[REPEATS:] == column[:-REPEATS]
    is_possible = (means >= MIN_SPACE_PX) & (means <= MAX_SPACE_PX)
    deviations = np.abs(runs - means[:, None]).max(axis=1)
    is_equal = deviations <= np.maximum(1.0, SAME * means)
    spaces: NDArray[np.float64] = means[is_in_column & is_possible & is_equal]
    return _Candidate(spaces=spaces, n_tried=int(is_in_column.sum()))


def _near(
    spaces: NDArray[np.float64], centre: float, difference: float = SAME
) -> NDArray[np.bool_]:
    return np.asarray(np.abs(spaces / centre - 1) <= difference)


def _mode(spaces: NDArray[np.float64]) -> float:
    """Return the most frequent distance: the centre of the fullest bin on a logarithmic scale."""
    step = np.log1p(SAME / 2)
    bins = np.round(np.log(spaces) / step).astype(np.int64)
    lowest = bins.min()
    counts = np.convolve(np.bincount(bins - lowest), [1, 1, 1], mode="same")
    return float(np.exp((int(counts.argmax()) + lowest) * step))


def _is_text(columns: NDArray[np.float32], space: float) -> bool:
    """Check whether lines continue beyond the height of a staff, like those of text."""
    around = cv2.blur(columns, (WINDOWS_PX[-1], 1), borderType=cv2.BORDER_REFLECT)
    depth = np.asarray(around - columns)
    length = 2 ** int(np.ceil(np.log2(2 * depth.shape[1])))
    power = (np.abs(np.fft.rfft(depth[::4], length, axis=1)) ** 2).mean(axis=0)
    correlation = np.fft.irfft(power)[: length // 2]

    def contrast(distances: NDArray[np.float64], repeats: int) -> NDArray[np.float64]:
        points = np.stack([(repeats + half) * distances for half in (-0.5, 0.0, 0.5)])
        before, here, after = np.asarray(
            np.interp(points, np.arange(len(correlation)), correlation)
        )
        return np.asarray((here - (before + after) / 2) / max(float(correlation[0]), 1.0))

    distances = space * np.linspace(1 - SAME, 1 + SAME, 25)
    nearest = contrast(distances, 1)
    best = int(nearest.argmax())
    farther = contrast(distances, TEXT_REPEATS)[best]
    return bool(nearest[best] > TEXT_CONTRAST and farther > TEXT_SHARE * nearest[best])
