"""Datasets of micro-expressions: the composite from frames or flow, and the generated one."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from numpy.typing import NDArray

from asdbench import DataError, Row, completeness
from asdbench_datasets.faces import flow as flows
from asdbench_datasets.faces.faces import SIDE
from asdbench_datasets.faces.flow import (
    flow_picture,
    normalised,
    optical_flow,
    optical_strain,
    read_flow,
    resized,
)
from asdbench_datasets.faces.micro_expression import MicroExpression, clips_per_class
from asdbench_datasets.faces.synthetic_faces import SUBJECTS, SyntheticFaces

COLUMNS = ("name", "database", "subject", "class", "flow", "onset", "apex", "frames")
SAMPLES = (
    {"name": "a", "database": "casme2", "subject": "sub01", "class": "positive", "flow": "a.npy"},
    {"name": "b", "database": "casme2", "subject": "sub02", "class": "negative", "flow": "b.npy"},
    {"name": "c", "database": "samm", "subject": "006", "class": "surprise", "flow": "c.npy"},
    {"name": "d", "database": "smic", "subject": "sub01", "class": "surprise", "flow": "d.npy"},
)


def write_table(root: Path, lines: Sequence[Mapping[str, str]]) -> Path:
    folder = root / "micro_expression"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "clips.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, COLUMNS)
        writer.writeheader()
        writer.writerows(lines)
    return folder


def blob(x: float, y: float, *, side: int = 40) -> NDArray[np.float32]:
    """A soft bright spot on an even background."""
    down, right = np.mgrid[:side, :side]
    spot = np.exp(-((right - x) ** 2 + (down - y) ** 2) / 60)
    return np.asarray(0.7 * spot + 0.1, dtype=np.float32)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four clips given by their flow."""
    folder = write_table(tmp_path, SAMPLES)
    rng = np.random.default_rng(0)
    for sample in SAMPLES:
        np.save(folder / sample["flow"], rng.normal(size=(50, 40, 2)).astype(np.float32))
    return tmp_path


def test_clips_become_rows_with_prefixed_subjects(root: Path) -> None:
    rows = list(MicroExpression().index(root))
    assert [row.columns["subject"] for row in rows] == [
        "casme2_sub01",
        "casme2_sub02",
        "samm_006",
        "smic_sub01",
    ]
    assert [row.label for row in rows] == ["positive", "negative", "surprise", "surprise"]
    assert set(MicroExpression().card.columns) == {"database", "subject"}


def test_each_subject_is_a_fold_trained_on_all_others(root: Path) -> None:
    rows = list(MicroExpression().index(root))
    folds = MicroExpression().folds(rows)
    assert sorted(fold.name for fold in folds) == [
        "loso:casme2_sub01", "loso:casme2_sub02", "loso:samm_006", "loso:smic_sub01",
    ]  # fmt: skip
    for fold in folds:
        assert sorted([*fold.train, *fold.test]) == [0, 1, 2, 3]
        assert not {rows[k].columns["subject"] for k in fold.train} & {
            rows[k].columns["subject"] for k in fold.test
        }


@pytest.mark.parametrize(("size", "channels"), [(75, 2), (28, 3)])
def test_an_item_is_a_normalised_flow_picture(root: Path, size: int, channels: int) -> None:
    dataset = MicroExpression(size=size, channels=channels)
    item = dataset.read(root, PurePosixPath("a.npy"))
    assert item.shape == dataset.card.item_shape == (size, size, channels)
    assert item.dtype == np.float32
    np.testing.assert_allclose(item.mean(axis=(0, 1)), 0, atol=1e-6)
    np.testing.assert_allclose(np.abs(item).max(axis=(0, 1)), 1, rtol=1e-6)
    raw = MicroExpression(normalise=False).read(root, PurePosixPath("a.npy"))
    assert np.abs(raw).max() > 1


def test_the_composite_has_441_or_442_clips() -> None:
    assert sum(clips_per_class(132).values()) == 441
    assert sum(clips_per_class(133).values()) == 442
    assert clips_per_class(132)["samm", "surprise"] == 14
    totals = [sum(n for (_, label), n in clips_per_class(132).items() if label == name)
              for name in ("positive", "negative", "surprise")]  # fmt: skip
    assert totals == [109, 250, 82]
    card = MicroExpression().card
    assert sum(count.items for count in card.expected) == 441
    assert card.published_as
    assert any("it is unknown which SAMM clip" in note for note in card.notes)
    assert not MicroExpression(samm_n=133).card.published_as


def test_one_surprise_of_samm_or_the_named_clips_are_left_out(tmp_path: Path) -> None:
    surprises = [
        {"name": f"s{k:02d}", "database": "samm", "subject": "006", "class": "surprise", "flow": f"{k}.npy"}
        for k in range(15)
    ]
    write_table(tmp_path, [*surprises, {**SAMPLES[0], "flow": "a.npy"}])

    def names(**options: object) -> set[str]:
        return {row.source.stem for row in MicroExpression(**options).index(tmp_path)}  # type: ignore[arg-type]

    every = {*(str(k) for k in range(15)), "a"}
    assert names(samm_n=133) == every
    assert names() == every - {"14"}
    assert names(exclude="s03+s04") == every - {"3", "4"}
    with pytest.raises(DataError, match="exclude: unknown clip 's99'"):
        names(exclude="s99")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({**SAMPLES[0], "database": "casme"}, "line 2: unknown database 'casme'; did you mean 'casme2'"),
        ({**SAMPLES[0], "class": "happy"}, "line 2: unknown class 'happy'"),
        ({**SAMPLES[0], "subject": ""}, "line 2: the clip has no subject"),
        ({**SAMPLES[0], "name": ""}, "line 2: the clip has no name"),
        ({**SAMPLES[0], "flow": ""}, "line 2: give either flow, or onset and apex, or frames"),
        ({**SAMPLES[0], "onset": "o.png", "apex": "a.png"}, "line 2: give either flow"),
        ({**SAMPLES[0], "flow": "../a.npy"}, "must be relative to the folder of the table"),
        ({**SAMPLES[0], "flow": "", "frames": "clip"}, "line 2: clip has 0 frames"),
    ],
)
def test_an_invalid_line_is_named(tmp_path: Path, line: Mapping[str, str], message: str) -> None:
    write_table(tmp_path, [line])
    with pytest.raises(DataError, match=message):
        list(MicroExpression().index(tmp_path))


def test_clips_listed_twice_and_a_missing_table_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"docs/faces\.md says how to get them"):
        list(MicroExpression().index(tmp_path))
    write_table(tmp_path, [])
    with pytest.raises(DataError, match="lists no clip"):
        list(MicroExpression().index(tmp_path))
    write_table(tmp_path, [SAMPLES[0], {**SAMPLES[1], "name": "a"}])
    with pytest.raises(DataError, match="line 3: the name a is already used in line 2"):
        list(MicroExpression().index(tmp_path))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            np.zeros((5, 5), np.float32),
            r"should hold a flow, numbers \[height, width, 2 or 3\]; found float32 \[5, 5\]",
        ),
        (np.full((5, 5, 2), np.nan, np.float32), "not finite"),
    ],
)
def test_an_array_that_is_not_a_flow_is_refused(
    tmp_path: Path, array: NDArray[np.float32], message: str
) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match=message):
        read_flow(tmp_path / "a.npy")
    (tmp_path / "b.npy").write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot be read as an array"):
        read_flow(tmp_path / "b.npy")
    np.savez(tmp_path / "c.npz", array)
    (tmp_path / "c.npz").rename(tmp_path / "c.npy")
    with pytest.raises(DataError, match="holds several arrays"):
        read_flow(tmp_path / "c.npy")


def test_numbers_too_large_for_single_precision_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((5, 5, 2), 1e300))
    with pytest.raises(DataError, match=r"a\.npy has values that are not finite or beyond 1e\+15"):
        read_flow(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.full((5, 5, 2), 1e30))  # its strain would be no single precision number
    with pytest.raises(DataError, match="not finite or beyond"):
        read_flow(tmp_path / "a.npy")


@pytest.mark.parametrize("shape", [(1, 1, 2), (1, 20, 2), (20, 1, 3)])
def test_a_flow_with_a_side_of_one_pixel_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape, np.float32))
    with pytest.raises(DataError, match=r"a\.npy has \d+ x \d+ pixels; each side needs at least 2"):
        read_flow(tmp_path / "a.npy")


def test_a_frame_with_a_side_of_one_pixel_is_refused(tmp_path: Path) -> None:
    opencv = pytest.importorskip("cv2")
    opencv.imwrite(str(tmp_path / "a.png"), np.zeros((1, 1), np.uint8))
    with pytest.raises(DataError, match=r"a\.png has 1 x 1 pixels; each side needs at least 2"):
        flows.read_frames([tmp_path / "a.png"])


@pytest.mark.parametrize("algorithm", ["tvl1", "farneback"])
@pytest.mark.parametrize("shape", [(2, 2), (2, 9), (5, 3)])
def test_the_smallest_frames_have_a_flow(algorithm: flows.Algorithm, shape: tuple[int, int]) -> None:
    pytest.importorskip("skimage" if algorithm == "tvl1" else "cv2")
    frames = np.random.default_rng(0).random((2, *shape)).astype(np.float32)
    flow = optical_flow(frames[0], frames[1], algorithm=algorithm)
    assert flow.shape == (*shape, 2)
    assert np.isfinite(flow_picture(flow, size=8, channels=3)).all()


def test_the_suffix_of_an_array_may_be_in_capitals(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((5, 6, 2), np.float32))
    (tmp_path / "a.npy").rename(tmp_path / "A.NPY")
    assert read_flow(tmp_path / "A.NPY").shape == (5, 6, 2)


def test_a_grey_image_is_not_a_flow(tmp_path: Path) -> None:
    opencv = pytest.importorskip("cv2")
    grey = np.random.default_rng(0).integers(0, 255, (6, 7), np.uint8)
    for image in (grey, np.stack([grey] * 3, axis=2)):
        opencv.imwrite(str(tmp_path / "a.png"), image)
        with pytest.raises(DataError, match=r"a\.png is a grey image; a flow image has u in red"):
            read_flow(tmp_path / "a.png")


def test_frames_of_16_bits_keep_their_levels(tmp_path: Path) -> None:
    opencv = pytest.importorskip("cv2")
    image = np.random.default_rng(0).integers(0, 4096, (40, 40)).astype(np.uint16)
    opencv.imwrite(str(tmp_path / "a.png"), image)
    assert len(np.unique(flows.read_frames([tmp_path / "a.png"])[0])) == len(np.unique(image))
    opencv.imwrite(str(tmp_path / "b.png"), (image >> 4).astype(np.uint8))
    np.testing.assert_allclose(flows.read_frames([tmp_path / "b.png"])[0], (image >> 4) / 255, rtol=1e-6)
    with pytest.raises(DataError, match=r"b\.png has uint8 pixels, but .*a\.png has uint16"):
        flows.read_frames([tmp_path / "a.png", tmp_path / "b.png"])
    opencv.imwrite(str(tmp_path / "c.tiff"), np.zeros((4, 4), np.float32))
    with pytest.raises(DataError, match=r"c\.tiff has float32 pixels; a frame should have 8 or 16 bits"):
        flows.read_frames([tmp_path / "c.tiff"])


@pytest.mark.parametrize("algorithm", ["tvl1", "farneback"])
def test_twelve_bits_in_sixteen_give_the_flow_of_twelve_bits(algorithm: flows.Algorithm) -> None:
    pytest.importorskip("skimage" if algorithm == "tvl1" else "cv2")
    onset, apex = blob(19, 20), blob(21, 19)
    bright = optical_flow(onset, apex, algorithm=algorithm)
    dark = optical_flow(onset / np.float32(16), apex / np.float32(16), algorithm=algorithm)
    np.testing.assert_allclose(dark, bright, atol=1e-3)
    black = np.zeros((9, 9), np.float32)
    assert not optical_flow(black, black, algorithm=algorithm).any()


def test_channels_may_come_first(tmp_path: Path) -> None:
    flow = np.random.default_rng(0).normal(size=(2, 6, 7)).astype(np.float32)
    np.save(tmp_path / "a.npy", flow)
    np.testing.assert_array_equal(read_flow(tmp_path / "a.npy"), np.moveaxis(flow, 0, -1))


def test_resizing_averages_areas_and_keeps_the_mean() -> None:
    maps = np.random.default_rng(0).normal(size=(56, 42, 2)).astype(np.float32)
    small = resized(maps, 14)
    assert small.shape == (14, 14, 2)
    np.testing.assert_allclose(small[0, 0], maps[:4, :3].mean(axis=(0, 1)), rtol=1e-5)
    np.testing.assert_allclose(resized(maps, 25).mean(axis=(0, 1)), maps.mean(axis=(0, 1)), atol=1e-6)


def test_a_constant_channel_becomes_zero() -> None:
    maps = np.stack([np.full((8, 8), 3.3), np.arange(64).reshape(8, 8)], axis=2).astype(np.float32)
    even, rising = np.moveaxis(normalised(maps), -1, 0)
    assert not even.any()
    assert rising.min() == pytest.approx(-1)


def test_strain_is_zero_for_rotations_and_known_for_a_shear() -> None:
    y, x = (axis.astype(np.float32) for axis in np.mgrid[:9, :9])
    np.testing.assert_allclose(optical_strain(np.stack([-y, x], axis=2)), 0, atol=1e-6)
    np.testing.assert_allclose(optical_strain(np.stack([y, 0 * x], axis=2)), np.sqrt(0.5), rtol=1e-6)
    picture = flow_picture(np.stack([x * x, y], axis=2), size=9, channels=3, normalise=False)
    np.testing.assert_allclose(picture[4, 4], [16, 4, np.sqrt(8**2 + 1)], rtol=1e-6)


@pytest.mark.parametrize("algorithm", ["tvl1", "farneback"])
def test_a_moved_spot_gives_its_motion(algorithm: flows.Algorithm) -> None:
    pytest.importorskip("skimage" if algorithm == "tvl1" else "cv2")
    flow = optical_flow(blob(19, 20), blob(21, 19), algorithm=algorithm)
    assert flow.shape == (40, 40, 2)
    u, v = flow[17:23, 17:23].mean(axis=(0, 1))
    assert u == pytest.approx(2, abs=0.6)
    assert v == pytest.approx(-1, abs=0.6)
    with pytest.raises(DataError, match="onset and apex differ in size"):
        optical_flow(blob(19, 20), blob(19, 20, side=30), algorithm=algorithm)


def test_a_missing_library_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(flows, "_found", lambda module: None)
    with pytest.raises(DataError, match=r"flow=tvl1 needs scikit-image \(pip install 'asdbench\[faces\]'\)"):
        optical_flow(blob(5, 5), blob(6, 5), algorithm="tvl1")
    with pytest.raises(DataError, match="flow=farneback, which needs OpenCV"):
        optical_flow(blob(5, 5), blob(6, 5), algorithm="farneback")
    with pytest.raises(DataError, match=r"a\.png is an image, which needs OpenCV"):
        flows.read_frames([tmp_path / "a.png"])


def test_frames_become_flow_and_the_apex_of_a_sequence_is_chosen(tmp_path: Path) -> None:
    opencv = pytest.importorskip("cv2")
    pair = {
        "name": "p",
        "database": "samm",
        "subject": "006",
        "class": "negative",
        "onset": "o.png",
        "apex": "a.png",
    }
    sequence = {"name": "q", "database": "smic", "subject": "s01", "class": "positive", "frames": "q"}
    folder = write_table(tmp_path, [pair, sequence])
    (folder / "q").mkdir()
    frames = {"o.png": 19, "a.png": 22, "q/0.png": 19, "q/1.png": 22, "q/2.png": 20, "q/3.png": 19}
    for name, x in frames.items():
        opencv.imwrite(str(folder / name), (255 * blob(x, 20)).astype(np.uint8))

    def read(source: str, apex: str = "middle") -> NDArray[np.float32]:
        dataset = MicroExpression(flow="farneback", apex=apex, normalise=False, size=40)  # type: ignore[arg-type]
        return dataset.read(tmp_path, PurePosixPath(source))

    np.testing.assert_array_equal(read("q/3.png", "max_flow"), read("a.png"))
    assert read("q/3.png", "middle")[20, 20, 0] < 0.7 * read("a.png")[20, 20, 0]
    before = [row.columns["others"] for row in MicroExpression().index(tmp_path)]
    opencv.imwrite(str(folder / "o.png"), (255 * blob(10, 20)).astype(np.uint8))
    after = [row.columns["others"] for row in MicroExpression().index(tmp_path)]
    assert before[0] != after[0]
    assert before[1] == after[1]


def test_flow_images_hold_u_in_red_and_v_in_green(tmp_path: Path) -> None:
    opencv = pytest.importorskip("cv2")
    image = np.zeros((6, 7, 3), np.uint8)
    image[..., 2], image[..., 1], image[2, 3, 0] = 10, 20, 30  # OpenCV writes blue, green, red
    opencv.imwrite(str(tmp_path / "a.png"), image)
    flow = read_flow(tmp_path / "a.png")
    assert flow[2, 3].tolist() == [10, 20, 30]
    (tmp_path / "b.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"b\.png is not an image"):
        read_flow(tmp_path / "b.png")


def test_generated_faces_have_the_subjects_and_counts_of_the_composite() -> None:
    assert [len(names) for names in SUBJECTS.values()] == [24, 28, 16]
    for samm_n in (132, 133):
        clips = SyntheticFaces(samm_n=samm_n).clips()
        counted: dict[tuple[str, str], int] = {}
        for clip in clips:
            counted[clip.database, clip.label] = counted.get((clip.database, clip.label), 0) + 1
        assert counted == clips_per_class(samm_n)
        assert len({(clip.database, clip.subject) for clip in clips}) == 68
    assert set(SyntheticFaces().clips()) < set(SyntheticFaces(samm_n=133).clips())
    assert set(SyntheticFaces(subjects=2).clips()) < set(SyntheticFaces().clips())


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row]]:
    """Six faces."""
    folder = tmp_path_factory.mktemp("generated")
    dataset = SyntheticFaces(subjects=2)
    dataset.generate(folder, lambda done, total: None)
    return folder, list(dataset.index(folder))


def test_generated_faces_are_complete_and_divided_by_subject(generated: tuple[Path, list[Row]]) -> None:
    _, rows = generated
    dataset = SyntheticFaces(subjects=2)
    assert completeness(dataset.card, rows).complete
    folds = dataset.folds(rows)
    assert len(folds) == 6
    assert sorted(k for fold in folds for k in fold.test) == list(range(len(rows)))


def test_equal_options_give_equal_faces_and_other_seeds_give_others(
    generated: tuple[Path, list[Row]],
) -> None:
    folder, rows = generated
    clip = SyntheticFaces(subjects=2).clips()[0]
    stored = np.load(folder / clip.source)
    np.testing.assert_array_equal(SyntheticFaces(size=28).motion(clip), stored)
    assert not np.array_equal(SyntheticFaces(seed=1).motion(clip), stored)
    assert not np.array_equal(SyntheticFaces(difficulty=0).motion(clip), stored)
    assert stored.shape == (SIDE, SIDE, 2)
    item = SyntheticFaces(size=28, channels=3).read(folder, rows[0].source)
    assert item.shape == (28, 28, 3)
    assert np.abs(item).max() == pytest.approx(1)


def test_a_missing_clip_is_refused_with_the_command_that_generates_it(
    generated: tuple[Path, list[Row]], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="fetch synthetic_faces` generates it"):
        list(SyntheticFaces(subjects=2).index(tmp_path))


def test_a_linear_model_beats_chance_on_other_subjects_and_is_not_perfect() -> None:
    dataset = SyntheticFaces()
    clips = [clip for clip in dataset.clips() if clip.database == "smic"]
    values = np.stack([flow_picture(dataset.motion(clip), size=12, channels=2).ravel() for clip in clips])
    targets = np.array([clip.label for clip in clips])
    owners = np.array([clip.subject for clip in clips])
    right = 0
    for subject in set(owners):
        ours = owners != subject
        marks = (targets[ours, None] == np.unique(targets)).astype(float) - 1 / 3
        known = values[ours]
        weights = known.T @ np.linalg.solve(known @ known.T + 100 * np.eye(len(known)), marks)
        right += (np.unique(targets)[(values[~ours] @ weights).argmax(axis=1)] == targets[~ours]).sum()
    assert 0.5 < right / len(clips) < 0.95
