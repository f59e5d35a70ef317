"""Keys that choose and group images of any source, and the findings that name them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from revo_ray.data.files.exclude import excluder
from revo_ray.data.image_records import Finding, Source, Topic
from revo_ray.data.sources import read_source
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig
from tests.data.layouts import Files, busi_files, class_folder_files, csv_files, picture, unpacked

PETS = {"cat": 4, "dog": 4}


def read(root: Path, source: str = "folder", **keys: object) -> Source:
    return read_source(DataConfig.model_validate({"source": source, "root": str(root), **keys}))


def write(names: list[str], folder: Path) -> Path:
    files: Files = {name: picture(i % 2, i, kind="PNG") for i, name in enumerate(names)}
    return unpacked(files, folder)


def found(source: Source, topic: Topic) -> list[Finding]:
    return [finding for finding in source.warnings if finding.topic == topic]


@pytest.mark.parametrize(
    ("pattern", "left_out", "kept"),
    [
        ("*_mask.*", ["a/1_mask.png", "1_mask.jpg"], ["a/1.png", "a_mask/1.png"]),
        ("masks", ["masks/1.png", "a/masks/b/1.png"], ["a/my masks/1.png", "a/masks.png"]),
        ("masks/", ["a/masks/1.png"], ["a/masks.png"]),
        ("test/*", ["test/a/1.png"], ["a/test/1.png", "test.png"]),
        ("/a/?.png", ["a/1.png"], ["a/10.png", "b/a/1.png"]),
        ("*/raw/*", ["a/b/raw/1.png"], ["raw/1.png"]),
        ("[0-9]*", ["a/1.png"], ["a/x1.png"]),
        ("e\u0301*", ["\u00e9t\u00e9/1.png"], ["ete/1.png"]),
    ],
)
def test_patterns_leave_out_names_at_any_depth_and_paths_from_the_root(
    pattern: str, left_out: list[str], kept: list[str]
) -> None:
    assert [*map(excluder([pattern]), left_out)] == [True] * len(left_out)
    assert [*map(excluder([pattern]), kept)] == [False] * len(kept)


@pytest.mark.parametrize("source", ["folder", "busi", "csv"])
def test_every_source_leaves_files_out(source: str, tmp_path: Path) -> None:
    files = {"folder": class_folder_files, "busi": busi_files, "csv": csv_files}[source]()
    root = unpacked(files, tmp_path)
    root = root / "list.csv" if source == "csv" else root
    before = read(root, source)
    name = before.records[0].name
    after = read(root, source, exclude=[f"{name}", "nothing*"])
    assert {r.name for r in after.records} == {r.name for r in before.records} - {name}


def test_an_excluded_folder_is_no_class(tmp_path: Path) -> None:
    names = [f"{label}/{i}.png" for label in ("cat", "dog", "old") for i in range(3)]
    root = write(names, tmp_path)
    for pattern in ("old", "old/*", "o?d/"):
        assert read(root, exclude=[pattern]).classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("masks", "pattern"),
    [
        (["cat/1_mask.png", "dog/2_mask.png"], "*_mask.*"),
        (["cat/1_segmentation.png"], "*_segmentation.*"),
        (["dog/1-seg.png"], "*-seg.*"),
        (["dog/1_GT.png"], "*_GT.*"),
        (["cat/mask_1.png"], "mask_*.*"),
        (["cat/1_mask_1.png", "cat/1_mask_2.png"], "*_mask[-_ 0-9]*.*"),
        (["cat/masks/1.png", "dog/masks/2.png"], "masks"),
        (["dog/ground_truth/1.png"], "ground_truth"),
    ],
)
def test_masks_are_counted_and_left_out_by_the_key_that_is_named(
    masks: list[str], pattern: str, tmp_path: Path
) -> None:
    names = [f"{label}/{i}.png" for label in PETS for i in range(4)]
    root = write([*names, *masks], tmp_path)
    (finding,) = found(read(root), Topic.MASKS)
    assert finding.text.startswith(f"{len(masks)} possible mask")
    assert f'data.exclude: ["{pattern}"]' in finding.text
    after = read(root, exclude=[pattern])
    assert sorted(record.name for record in after.records) == names
    assert not after.warnings


@pytest.mark.parametrize("names", [("with_mask", "without_mask"), ("mask", "no_mask"), ("a", "b")])
def test_classes_of_faces_with_masks_are_no_masks(names: tuple[str, str], tmp_path: Path) -> None:
    root = write([f"{name}/{name}_{i}.png" for name in names for i in range(4)], tmp_path)
    assert not found(read(root), Topic.MASKS)


def test_pictures_and_masks_at_the_root_are_named(tmp_path: Path) -> None:
    root = write([f"{part}/{i}.png" for part in ("images", "masks") for i in range(4)], tmp_path)
    (finding,) = found(read(root), Topic.MASKS)
    assert 'data.exclude: ["masks"]' in finding.text
    both = [f"{part}/{c}/{i}.png" for part in ("images", "masks") for c in PETS for i in range(3)]
    with pytest.raises(UserError, match=r"data\.exclude: \['masks'\]"):
        read(write(both, tmp_path / "deep"))
    assert read(tmp_path / "deep", exclude=["masks"]).classes == ("cat", "dog")


def patients(pattern: str) -> list[str]:
    return [
        pattern.format(label=label, patient=f"{label[0]}{patient}", i=i)
        for label in ("benign", "malignant")
        for patient in range(4)
        for i in range(3)
    ]


@pytest.mark.parametrize(
    ("pattern", "key"),
    [
        ("{label}/patient_{patient}/{i}.png", "2"),
        ("train/{label}/{patient}/{i}.png", "3"),
        ("x/y/{label}/{patient}/scan/{i}.png", "4"),
        ("{label}/patient{patient}_{i}.png", "'([^/]*?[0-9]+)[-_ ][^/]*$'"),
        ("{label}/P{patient}-slice-0{i}.png", "'([^/]*?[0-9]+)[-_ ][^/]*$'"),
    ],
)
def test_what_may_be_patients_is_kept_together_by_the_key_that_is_named(
    pattern: str, key: str, tmp_path: Path
) -> None:
    names = patients(pattern)
    if pattern.startswith("train"):
        names += [name.replace("train", "test").replace("/b", "/c") for name in names]
        names = [name for name in names if name.split("/")[1] in ("benign", "malignant")]
        names += [
            f"test/{label}/t{label[0]}{i}/0.png"
            for label in ("benign", "malignant")
            for i in (1, 2)
        ]
    root = write(names, tmp_path)
    (finding,) = found(read(root), Topic.GROUPS)
    assert f"data.group_by: {key} " in finding.text
    after = read(root, group_by=key.strip("'"))
    assert not found(after, Topic.GROUPS)
    sizes = Counter(record.group for record in after.records if "test" not in record.name)
    assert set(sizes.values()) == {3}
    assert len(sizes) == 8


@pytest.mark.parametrize(
    "pattern",
    [
        "{label}/{patient}{i}.png",
        "{label}/IMG_2019{patient}{i}.png",
        "{label}/{label} ({patient}{i}).png",
        "{label}/images/{patient}{i}.png",
    ],
)
def test_counters_and_folders_of_all_images_are_no_patients(pattern: str, tmp_path: Path) -> None:
    assert not found(read(write(patients(pattern), tmp_path)), Topic.GROUPS)


def test_the_same_views_in_every_class_are_no_patients(tmp_path: Path) -> None:
    names = [
        f"{label}/{view}/{i}.png"
        for label in PETS
        for view in ("left", "right", "top")
        for i in range(3)
    ]
    assert not found(read(write(names, tmp_path), splits={}), Topic.GROUPS)


def test_a_patient_with_images_of_two_classes_is_one_group(tmp_path: Path) -> None:
    names = [f"{label}/{p}/{i}.png" for label in PETS for p in ("rex", label) for i in range(2)]
    source = read(write(names, tmp_path), group_by=-1)
    assert Counter(r.group for r in source.records) == {"rex": 4, "cat": 2, "dog": 2}
    apart = read(tmp_path, group_by="^([^/]+/[^/]+)/")
    assert len({record.group for record in apart.records}) == 4


@pytest.mark.parametrize(
    ("group_by", "says"),
    [(0, "no level 0"), ("(", "no regular expression"), (7, "names no group"), (1, "the class")],
)
def test_a_group_by_that_cannot_be_is_refused(
    group_by: int | str, says: str, tmp_path: Path
) -> None:
    root = unpacked(class_folder_files(PETS), tmp_path)
    with pytest.raises(UserError, match=says) as error:
        read(root, group_by=group_by)
    assert error.value.key == "data.group_by"


@pytest.mark.parametrize("source", ["folder", "csv"])
def test_small_classes_are_left_out_and_named(source: str, tmp_path: Path) -> None:
    counts = PETS | {"emu": 1, "gnu": 2}
    root = unpacked(class_folder_files(counts) | {"void/": b""}, tmp_path)
    if source == "csv":
        rows = [f"{p.relative_to(root)},{p.parent.name}" for p in sorted(root.glob("*/*.png"))]
        root = root / "list.csv"
        root.write_text("\n".join(["path,label", *rows]))
    after = read(root, source, min_per_class=3)
    assert after.classes == ("cat", "dog")
    assert Counter(record.label for record in after.records) == PETS
    (finding,) = found(after, Topic.CLASSES)
    assert "'emu' (1 image), 'gnu' (2 images)" in finding.text
    with pytest.raises(UserError, match="leaves 0 of") as error:
        read(root, source, min_per_class=5)
    assert error.value.key == "data.min_per_class"


def test_empty_classes_are_named_at_once_with_the_key(tmp_path: Path) -> None:
    files = class_folder_files(PETS, splits=["train", "test"])
    files |= {"train/emu/": b"", "test/emu/": b"", "train/gnu/": b"", "test/gnu/": b""}
    with pytest.raises(UserError, match=r"'test/emu', .*'train/gnu'.*data.min_per_class: 3"):
        read(unpacked(files, tmp_path))
    assert read(tmp_path, min_per_class=3).classes == ("cat", "dog")
