import logging

import pytest
from ultralytics.utils import LOGGER, TQDM

from training.runtime.library_loggers import quiet


def test_warnings_are_logged_once_and_reports_never(capsys: pytest.CaptureFixture[str]) -> None:
    with quiet():
        LOGGER.info("a report")
        for _ in range(2):
            LOGGER.warning("a problem")
            LOGGER.error("%s failed", "something")
        assert list(TQDM(range(3))) == [0, 1, 2]
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "note: a problem\nerror: something failed\n")
    LOGGER.info("a report")
    for _ in range(2):
        LOGGER.warning("a problem")
    assert capsys.readouterr().err == "a report\nnote: a problem\nnote: a problem\n"


def test_a_logger_that_is_quieter_stays_so() -> None:
    log = logging.getLogger("another")
    log.setLevel(logging.ERROR)
    with quiet(log):
        assert log.level == logging.ERROR
    assert log.level == logging.ERROR
