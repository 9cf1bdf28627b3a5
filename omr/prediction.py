"""Prediction on pages of any size: what ``omr predict`` does, and :func:`omr.predict`."""

import json
import warnings
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from class_maps import ConfigError, OmrError, short_list
from converters import images
from converters.files.atomic_folder import MANIFEST, atomic_folder
from converters.files.hashes import sha256
from converters.files.journal import continued, digest_of, keep_only
from converters.files.kept_work import RECORDS
from converters.formats import check_formats
from converters.images import Pixels
from converters.page import Page
from converters.prepare.scaling import MAX_STAFF_SPACE_PX, parse_scale
from converters.tracking import Say, Track, unsaid, untracked
from converters.versions import OPENCV, TOOLKIT, code_hash, installed_versions
from eval.html.number_format import counted
from omr.finished_readings import FinishedReadings
from omr.prediction_files import SPLIT, Overlay, PredictionWriter
from reading.network import Network, TrainingInput, training_input
from reading.options import AUTO, DEFAULT_CONF, NONE, PAGES_AHEAD, ImageOptions
from reading.page_images import PageList, list_pages
from reading.page_reader import ReadingOptions, prepare, read_page
from reading.page_stream import PageReading, read_pages
from settings.published import DEFAULT_WEIGHTS, weights_path


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictOptions:
    """Everything that determines the output, besides the pages."""

    weights: Path
    formats: tuple[str, ...] = ("coco",)
    overlay: Overlay = "html"
    conf: float | None = None
    """Confidence above which symbols are kept, at least 0 and below 1; None for the threshold that
    the weights record, or ``DEFAULT_CONF``."""
    staff_space: str = AUTO
    """Staff space of the pages in pixels, ``auto`` to measure it on each page, or ``none`` to read
    pages in their own size."""
    scale: str | None = None
    """Staff space of the network's input, as ``staff-space:PX``, for weights that do not record
    it."""
    images: ImageOptions = field(default_factory=ImageOptions)

    def __post_init__(self) -> None:
        """Reject unknown formats and values out of range."""
        check_formats(self.formats)
        if self.conf is not None and not 0 <= self.conf < 1:
            reason = "expected a number of at least 0 and below 1"
            raise ConfigError(reason, option="--conf", value=f"{self.conf:g}")


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictionResult:
    """Outcome of a prediction."""

    names: tuple[str, ...]
    """Class names; the index is the label."""
    conf: float
    """Confidence above which symbols were kept, unless ``class_confs`` is given."""
    class_confs: tuple[float, ...]
    """Confidence of each class above which symbols were kept; empty for one for all."""
    pages: tuple[dict[str, Any], ...]
    """For each page: ``image``, ``symbols``, ``staff_space``, ``angle_degrees``, ``tiles``,
    ``seconds``, ``error``."""
    remarks: tuple[str, ...]
    """Notes for the user, each of which names its page."""
    seconds: float
    """Sum of the seconds of all pages."""

    @property
    def failures(self) -> list[str]:
        """A message for each page that could not be read."""
        return [f"{page['image']}: {page['error']}" for page in self.pages if page["error"]]

    def to_json(self) -> dict[str, Any]:
        """Return nested dicts, lists and numbers."""
        return {
            "pages": list(self.pages),
            "classes": list(self.names),
            "conf": self.conf,
            "class_confs": list(self.class_confs),
            "seconds": self.seconds,
            "notes": list(self.remarks),
        }


def predict_pages(
    sources: Sequence[Path],
    out: Path,
    options: PredictOptions,
    *,
    batch: int = 16,
    threads: int = PAGES_AHEAD,
    device: str = "",
    trust: bool = False,
    force: bool = False,
    track: Track[PageReading] = untracked,
    say: Say = unsaid,
) -> PredictionResult:
    """Find the symbols of pages and write them; ``out`` appears only after all pages were read.

    A page that cannot be read is listed in the result and does not stop the others. If the process
    fails or is killed, the symbols of the pages that it has read are kept beside ``out``; the next
    call continues with them.

    Args:
        sources: Image files, PDF files and folders of them.
        out: Folder to create.
        options: Everything that determines the output.
        batch: Maximum number of tiles in a call of the network.
        threads: Pages that are decoded at the same time.
        device: ``cpu``, ``0`` ...; empty for the first CUDA device, or the CPU.
        trust: Whether loading pickled weights may execute their code.
        force: Whether to replace ``out`` if omr wrote all files in it.
        track: Progress display.
        say: Receives lines about the pages that are used or kept.

    Raises:
        ConfigError: No pages were found, or an option is invalid or missing for these weights.
        InputError: The weights cannot be read.
        OmrError: No page can be read, or writing failed.
    """
    with atomic_folder(out, force=force, inputs=(*sources, options.weights)) as folder:
        listed = list_pages(sources)
        network = open_network(options.weights, device=device, trust=trust)
        digest = sha256(options.weights)
        reading = reading_options(network, options)
        fingerprint = digest_of(digest, reading, options.images, batch, device, _code())
        with continued(folder, out, fingerprint, "pages", say) as journal:
            keep_only(folder, (RECORDS,))
            finished = FinishedReadings(
                journal, options.images, are_shown=options.overlay != "none"
            )
            writer = _writer(folder, sources, listed, network, options)
            readings = read_pages(
                listed.pages,
                network,
                reading,
                images=options.images,
                batch=batch,
                threads=threads,
                find=finished.find,
            )
            with closing(readings):
                tracked = track(finished.added(readings), len(listed.pages))
                done = _result(network, reading, listed, writer.written(tracked))
            _check_any(done)
            writer.close()
            _write_manifest(folder, options, digest, reading, done)
    return done


def _code() -> tuple[str, dict[str, str]]:
    """Return what determines the symbols of a page besides the options: the code."""
    versions = installed_versions(TOOLKIT, "numpy", "torch", "onnxruntime", "pypdfium2", *OPENCV)
    return code_hash("converters", "reading", "training"), versions


def _writer(
    folder: Path,
    sources: Sequence[Path],
    listed: PageList,
    network: Network,
    options: PredictOptions,
) -> PredictionWriter:
    is_one_score = len({file.score for file in listed.pages}) == 1
    return PredictionWriter(
        folder,
        network.names,
        options.formats,
        options.overlay,
        title=(sources[0].resolve().name or SPLIT) if is_one_score else None,
        pages=listed.pages,
    )


def _entry(reading: PageReading) -> dict[str, Any]:
    page = reading.page
    return {
        "image": str(reading.name),
        "symbols": None if page is None else len(page.labels),
        "staff_space": None if page is None else page.staff_space,
        "angle_degrees": None if page is None else round(reading.angle_degrees, 2),
        "tiles": reading.n_tiles,
        "seconds": round(reading.seconds, 3),
        "error": reading.error,
    }


def _failure(path: str, reason: str) -> dict[str, Any]:
    unknown = dict.fromkeys(("symbols", "staff_space", "angle_degrees"))
    return {"image": path, **unknown, "tiles": 0, "seconds": 0.0, "error": reason}


def _result(
    network: Network,
    reading: ReadingOptions,
    listed: PageList,
    readings: Iterable[PageReading],
) -> PredictionResult:
    """Collect the outcome of all pages."""
    entries, remarks = list[dict[str, Any]](), list[str]()
    for one in readings:
        entries.append(_entry(one))
        remarks += [f"{one.name}: {remark}" for remark in one.remarks]
    entries += [_failure(path, reason) for path, reason in listed.failures.items()]
    skipped = f"skipped {counted(listed.n_skipped, 'image', 'images')} in unsupported formats"
    return PredictionResult(
        names=network.names,
        conf=reading.score_thresh,
        class_confs=reading.class_thresholds,
        pages=tuple(entries),
        remarks=(*remarks, *([skipped] if listed.n_skipped else [])),
        seconds=round(sum(entry["seconds"] for entry in entries), 3),
    )


def _check_any(result: PredictionResult) -> None:
    """Check that at least one page was read."""
    if len(result.failures) == len(result.pages):
        raise OmrError(f"no page could be read: {short_list(result.failures, 3)}")


def _write_manifest(
    folder: Path,
    options: PredictOptions,
    digest: str,
    reading: ReadingOptions,
    result: PredictionResult,
) -> None:
    content = {
        "weights": {"name": options.weights.name, "sha256": digest},
        "options": {
            "formats": options.formats,
            "staff_space": options.staff_space,
            "staff_space_of_training": reading.training.staff_space,
        },
        "versions": installed_versions(TOOLKIT, "numpy", "torch", "onnxruntime"),
        **result.to_json(),
    }
    text = json.dumps(content, indent=1, ensure_ascii=False)
    (folder / MANIFEST).write_text(f"{text}\n", encoding="utf-8")


def open_network(weights: Path, *, device: str = "", trust: bool = False) -> Network:
    """Load a network; torch is imported only if the weights need it.

    Args:
        weights: ``.onnx`` file, or weights file of a training.
        device: ``cpu``, ``0`` ...; empty for the first CUDA device, or the CPU.
        trust: Whether loading pickled weights may execute their code.

    Raises:
        ConfigError: The device does not exist.
        InputError: The file cannot be read.
        MissingExtraError: onnxruntime is needed and not installed.
    """
    if weights.suffix == ".onnx":
        from reading.onnx_network import OnnxNetwork

        return OnnxNetwork(weights, device=device)
    from training.predict.tile_network import TorchNetwork

    return TorchNetwork(weights, device=device, trust=trust)


def reading_options(network: Network, options: PredictOptions) -> ReadingOptions:
    """Combine the options of a prediction with what the weights record about their training.

    Raises:
        ConfigError: The weights do not record what is needed, and the options do not replace it.
    """
    scale = parse_scale(options.scale) if options.scale else None
    expected = training_input(network.preparations)
    if scale is not None:
        expected = TrainingInput(is_tiled=True, staff_space=scale)
    elif isinstance(expected, str):
        if options.staff_space != NONE:
            raise ConfigError(
                f"{options.weights}: the weights {expected}; give the staff space of their "
                "training with --scale staff-space:PX, or read pages in their own size with "
                "--staff-space none"
            )
        expected = TrainingInput(is_tiled=True, staff_space=None)
    chosen = (conf for conf in (options.conf, network.conf) if conf is not None)
    return ReadingOptions(
        training=expected,
        score_thresh=next(chosen, DEFAULT_CONF),
        class_thresholds=network.class_confs if options.conf is None else (),
        staff_space=_parse_staff_space(options.staff_space),
        is_scaled=options.staff_space != NONE,
    )


def _parse_staff_space(text: str) -> float | None:
    """Parse the value of ``--staff-space``: pixels, ``auto`` or ``none``."""
    if text in {AUTO, NONE}:
        return None
    try:
        pixels = float(text)
    except ValueError:
        pixels = 0.0
    if not 0 < pixels < MAX_STAFF_SPACE_PX:
        raise ConfigError(
            f"expected {AUTO}, {NONE}, or pixels above 0 and below {MAX_STAFF_SPACE_PX}",
            option="--staff-space",
            value=text,
        )
    return pixels


def predict(
    image: Path | str | Pixels,
    *,
    weights: Path | str = DEFAULT_WEIGHTS,
    conf: float | None = None,
    staff_space: float | Literal["auto", "none"] = "auto",
    device: str = "",
) -> Page:
    """Find the symbols of one page.

    The weights of the last calls stay loaded. Reasons to doubt the result, such as staff lines too
    close to be told apart, are Python warnings.

    Args:
        image: Image file, or pixels of shape ``(height, width)`` or, in BGR order,
            ``(height, width, 3)``.
        weights: Weights file of a training, ``.onnx`` file, or name of weights that come with
            omr.
        conf: Confidence above which symbols are kept, at least 0 and below 1; None for the
            thresholds that the weights record, otherwise 0.25.
        staff_space: Staff space of the page in pixels, ``auto`` to measure it, or ``none`` to read
            the page in its own size.
        device: ``cpu``, ``0`` ...; empty for the first CUDA device, or the CPU.

    Returns:
        The page with ``scores``, highest first; boxes in pixels of the image.

    Raises:
        ConfigError: An option is invalid.
        InputError: The image or the weights cannot be read.
    """
    options = PredictOptions(weights=weights_path(weights), conf=conf, staff_space=str(staff_space))
    file = options.weights.resolve()
    network = _cached_network(file, file.stat().st_mtime_ns if file.exists() else 0, device)
    reading = reading_options(network, options)
    if isinstance(image, Path | str):
        path = Path(image)
        pixels, name = images.read(path), PurePosixPath(path.name)
    else:
        pixels, name = image, PurePosixPath("page")
    prepared = prepare(name, pixels, network.imgsz, reading)
    for remark in prepared.remarks:
        warnings.warn(f"{name}: {remark}", stacklevel=2)
    return read_page(prepared, network, reading)


@lru_cache(maxsize=2)
def _cached_network(file: Path, _changed_ns: int, device: str) -> Network:
    return open_network(file, device=device)
