import hashlib
from pathlib import Path

import pytest

from class_maps import InputError
from converters.files.hashes import hashes_of_copies, sha256, short_hash, short_hashes


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


def test_only_files_that_may_be_copies_are_hashed(tmp_path: Path) -> None:
    end = b"x" * 5000
    contents = [b"", b"", b"a" + end, b"a" + end, b"b" + end, end + b"a", end + b"b", b"short"]
    files = [tmp_path / str(i) for i in range(len(contents))]
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    hashes = hashes_of_copies(files)
    assert hashes == {file: short_hash(file) for file in files[:5]}
    assert len(set(hashes.values())) == 3
    assert hashes_of_copies([]) == {}
    with pytest.raises(InputError, match="cannot be read: No such file"):
        hashes_of_copies([tmp_path / "gone", tmp_path / "gone too"])
