import numpy as np
import pytest

from terraseam.tiles.labels.label_codes import MOST, NOTHING, PLAIN, CodedLabels, merge_tables
from terraseam.tiles.labels.stitch import NODATA

RANGES = {
    "few of uint8": (np.uint8, 0, 9),
    "all of uint8": (np.uint8, 0, 255),
    "int8": (np.int8, -128, 127),
    "int16": (np.int16, -300, 300),
    "uint16": (np.uint16, 0, 65_535),
    "int32": (np.int32, -70_000, 900_000),
    "uint32": (np.uint32, 3_999_999_000, 4_000_000_000),
    "int64": (np.int64, -MOST, MOST),
    "uint64": (np.uint64, 0, MOST),
}


def some_labels(name, shape=(61, 83), seed=0):
    dtype, low, high = RANGES[name]
    rng = np.random.default_rng(seed)
    labels = rng.integers(low, high, shape, np.int64, endpoint=True).astype(dtype)
    labels = np.repeat(labels, 3, axis=1)[:, : shape[1]]
    return labels, rng.random(shape) < 0.8


@pytest.mark.parametrize("name", RANGES)
def test_labels_are_what_codes_stand_for(name):
    labels, known = some_labels(name)
    coded = CodedLabels.encode(labels, known)
    assert np.array_equal(coded.labels, np.where(known, labels.astype(np.int64), NOTHING))
    assert np.array_equal(coded.codes != NODATA, known)


@pytest.mark.parametrize("name", RANGES)
def test_codes_have_the_order_of_their_labels(name):
    labels, known = some_labels(name)
    codes = CodedLabels.encode(labels, known).codes[known].astype(np.int64)
    order = np.argsort(codes, kind="stable")
    assert (np.diff(labels[known][order].astype(np.int64)) >= 0).all()


@pytest.mark.parametrize(
    ("count", "dtype"),
    [(1, np.uint8), (255, np.uint8), (256, np.uint16), (65_535, np.uint16), (65_536, np.uint32)],
)
def test_codes_are_as_narrow_as_labels_are_few(count, dtype):
    labels = 1000 + np.arange(count)
    coded = CodedLabels.encode(labels, np.ones(count, bool))
    assert coded.codes.dtype == dtype
    assert np.array_equal(coded.labels, labels)


def test_labels_of_uint8_are_their_own_codes_whatever_their_type():
    labels = np.array([[0, 254, 7], [7, 3, 3]], np.int32)
    known = np.array([[True, True, True], [True, True, False]])
    coded = CodedLabels.encode(labels, known)
    assert coded.table is PLAIN
    assert coded.codes.tolist() == [[0, 254, 7], [7, 3, NODATA]]
    nothing = CodedLabels.encode(labels, np.zeros_like(known))
    assert nothing.table is PLAIN and (nothing.codes == NODATA).all()


def test_maps_in_one_table_keep_their_labels():
    maps = [CodedLabels.encode(*some_labels(name, (9, 20 + i))) for i, name in enumerate(RANGES)]
    codes, table = merge_tables(maps)
    for one, new in zip(maps, codes, strict=True):
        assert np.array_equal(table[new], one.labels)
    assert len({new.dtype for new in codes}) == 1
    plain = [CodedLabels.plain(np.full((2, 3), 7, np.uint8))] * 2
    assert merge_tables(plain)[1] is PLAIN


@pytest.mark.parametrize("name", RANGES)
def test_a_compact_part_knows_no_labels_but_its_own(name):
    coded = CodedLabels.encode(*some_labels(name))
    part = coded.part(slice(3), slice(-5, None)).compact()
    assert np.array_equal(part.labels, coded.labels[:3, -5:])
    assert not np.shares_memory(part.codes, coded.codes)
    if part.table is not PLAIN:
        assert set(part.table) == {*part.labels.ravel().tolist(), NOTHING}


@pytest.mark.parametrize("name", RANGES)
def test_counts_of_codes_are_those_of_their_pixels(name):
    labels, known = some_labels(name)
    encoded = CodedLabels.encode(labels, known)
    assert (encoded.counts() == np.bincount(encoded.codes.ravel(), minlength=len(encoded.table))).all()


@pytest.mark.parametrize("codes", [0, 1, 2, 7, 8, 9, 255])
@pytest.mark.parametrize("shape", [(61, 83), (0, 5)])
def test_few_codes_are_counted_as_many_are(codes, shape):
    labels = np.random.default_rng(codes).integers(0, codes + 1, shape).astype(np.uint8)
    labels[labels == codes] = NODATA
    counts = CodedLabels.plain(labels).counts()
    assert counts.dtype == np.int64 and (counts == np.bincount(labels.ravel(), minlength=256)).all()


def test_the_inner_part_is_all_but_a_rim():
    labels, known = some_labels("int32")
    coded = CodedLabels.encode(labels, known)
    assert np.array_equal(coded.inner(2).labels, coded.labels[2:-2, 2:-2])
    assert coded.inner(0).codes.shape == labels.shape


def test_codes_and_tables_that_do_not_fit_are_refused():
    codes = np.zeros((2, 3), np.uint8)
    with pytest.raises(ValueError, match="codes must be unsigned integers of up to 32 bits, got int64"):
        CodedLabels(codes.astype(np.int64), PLAIN)
    with pytest.raises(ValueError, match="a table has no label at 255, got one of 3 codes"):
        CodedLabels(codes, np.arange(3))
    with pytest.raises(ValueError, match="a table has no label at 255, got one of 256 codes"):
        CodedLabels(codes, np.arange(256))
