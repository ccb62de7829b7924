"""A disk that is really full: what is reported, what goes on, and what is left behind."""

from small_pictures import usual
from torchvision.models import shufflenet_v2_x0_5

from course_utils.errors import CheckpointError
from course_utils.models.saving import save_model

MB = 2**20


def test_a_model_that_has_no_room_is_an_error_and_leaves_the_old_file(small_disk, refused):
    disk = small_disk(2 * MB)
    names = {"backbone": "shufflenet_v2_x0_5", "classes": ["a", "b"], "image_size": 32, "transform": usual()}
    network = shufflenet_v2_x0_5(num_classes=2)
    save_model(network, disk / "model.safetensors", **names)
    before = (disk / "model.safetensors").read_bytes()
    with refused(CheckpointError, where=disk / "model.safetensors"):
        save_model(network, disk / "model.safetensors", **names)
    assert (disk / "model.safetensors").read_bytes() == before
    assert not list(disk.rglob(".*"))
