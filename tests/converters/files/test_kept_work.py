import shutil
from pathlib import Path

import pytest

from converters.files.kept_work import RECORDS, has_finished, make_records_folder, remove_records


def test_records_are_removed_before_what_they_refer_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_records_folder(tmp_path)
    assert not has_finished(tmp_path)
    for name in ("0.pages", "0.done", "1.pages", "1.done"):
        (tmp_path / RECORDS / name).touch()
    assert has_finished(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            remove_records(tmp_path)
    assert not has_finished(tmp_path)
    assert len(list((tmp_path / RECORDS).iterdir())) == 2
    for _ in range(2):
        remove_records(tmp_path)
        assert list(tmp_path.iterdir()) == []


def killed(_: Path) -> None:
    raise KeyboardInterrupt
