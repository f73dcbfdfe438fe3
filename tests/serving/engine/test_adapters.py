import pytest

from tuneward.errors import ServingError
from tuneward.serving.engine.adapters import confine

DIGEST = "0123456789abcdef" * 4


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "trees" / DIGEST
    folder.mkdir(parents=True)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (folder / name).write_text("{}")
    return tmp_path / "trees"


def refusals(root, path):
    with pytest.raises(ServingError) as caught:
        confine(root, path)
    assert {fault.code for fault in caught.value.faults} == {"TW-SERV-008"}
    return [fault.message for fault in caught.value.faults]


def test_relative_and_absolute_paths_below_the_root(root):
    assert confine(root, DIGEST) == confine(root, str(root / DIGEST)) == (root / DIGEST).resolve()


def test_no_root_no_adapters():
    assert "without a root" in refusals(None, DIGEST)[0]


@pytest.mark.parametrize("path", ["../" + DIGEST, f"{DIGEST}/../{DIGEST}", "a\0b"])
def test_a_path_that_climbs_is_refused(root, path):
    assert "`..`" in refusals(root, path)[0]


def test_a_path_outside_is_refused_and_so_is_a_sibling_with_the_same_beginning(root):
    sibling = root.with_name("trees-else") / DIGEST
    sibling.mkdir(parents=True)
    assert "outside" in refusals(root, "/etc")[0]
    assert "outside" in refusals(root, str(sibling))[0]


def test_links_are_refused_wherever_they_stand(root, tmp_path):
    other = "f" * 64
    real = tmp_path / "elsewhere" / DIGEST
    real.mkdir(parents=True)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (real / name).write_text("{}")
    (root / other).symlink_to(real)
    (root / "inner").symlink_to(real.parent)
    assert "symbolic link" in refusals(root, other)[0]
    assert "symbolic link" in refusals(root, f"inner/{DIGEST}")[0]
    (root / DIGEST / "adapter_config.json").rename(tmp_path / "config")
    (root / DIGEST / "adapter_config.json").symlink_to(tmp_path / "config")
    assert refusals(root, DIGEST) == ["adapter_config.json is no plain file"]


def test_everything_wrong_with_a_folder_is_said_at_once(root):
    folder = root / "latest"
    folder.mkdir()
    (folder / "adapter_model.bin").write_text("")
    told = "; ".join(refusals(root, "latest"))
    for part in ("digest", "config.json is missing", "safetensors is missing", "run code"):
        assert part in told


def test_a_missing_folder_is_named_missing(root):
    assert "no such folder" in refusals(root, "e" * 64)[0]
