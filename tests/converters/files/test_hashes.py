import hashlib
from pathlib import Path

import pytest

from class_maps import InputError
from converters.files.hashes import sha256, short_hashes


def test_no_files() -> None:
    assert short_hashes([]).shape == (0,)


def test_a_short_hash_is_the_start_of_the_whole_one(tmp_path: Path) -> None:
    files = [tmp_path / str(i) for i in range(100)]
    for i, file in enumerate(files):
        file.write_bytes(bytes(i) + b"page")
    hashes = [f"{number:016x}" for number in short_hashes(files).tolist()]
    assert hashes == [sha256(file)[:16] for file in files]
    assert hashes[0] == hashlib.sha256(b"page").hexdigest()[:16]


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        short_hashes([tmp_path / "gone.png"])
    assert str(error.value) == f"{tmp_path}/gone.png: cannot be read: No such file or directory"
