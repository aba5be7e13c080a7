import torch
from made_erpcnet import make_task

from methods.erpcnet.pictures import augmented, centred, normalised, squares


def test_pictures_are_cut_and_flipped_by_named_draws():
    task, _ = make_task()
    pictures = squares(task.features, 64)
    assert torch.equal(centred(task.features, 64), pictures[:, :, 4:68, 4:68])
    torch.manual_seed(0)
    first = augmented(pictures, 64, 0.5)
    assert first.shape == (16, 3, 64, 64)
    assert first.dtype == torch.uint8
    torch.manual_seed(0)
    assert torch.equal(augmented(pictures, 64, 0.5), first)
    white = normalised(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8))[0, :, 0, 0]
    torch.testing.assert_close(white, torch.tensor([0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225]))
