import numpy as np
import pytest
from made_pictures import BLUE, GREEN, RED, encoded, noise, picture, truncated_jpeg
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from platform.datasets.readers.squares import UnreadableError, square


def corners(pixels):
    """(3, S, S) to the colours of the four corners, and of the middle."""
    last = pixels.shape[1] - 1
    places = [(0, 0), (0, last), (last, 0), (last, last), (last // 2, last // 2)]
    return [tuple(int(v) for v in pixels[:, y, x]) for y, x in places]


@pytest.mark.parametrize("size", [(40, 40), (33, 70), (71, 32), (8, 8), (16, 9), (32, 32)])
def test_the_crop_is_torchvisions(size):
    image = noise(*size)
    theirs = Compose([Resize(32, InterpolationMode.BILINEAR), CenterCrop(32)])(image)
    np.testing.assert_array_equal(square(encoded(image), 32), np.asarray(theirs).transpose(2, 0, 1))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF"])
def test_a_file_is_known_by_its_content(kind):
    pixels = square(encoded(picture(BLUE), kind), 16)
    assert (pixels.shape, pixels.dtype) == ((3, 16, 16), np.uint8)
    np.testing.assert_allclose(corners(pixels)[4], BLUE, atol=6)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("L", "PNG"), ("L", "JPEG"), ("LA", "PNG"), ("1", "PNG"), ("P", "PNG"), ("CMYK", "JPEG"), ("RGBA", "WEBP")],
)
def test_every_mode_becomes_red_green_and_blue(mode, kind):
    image = picture((255, 255, 255), mode=mode)
    np.testing.assert_allclose(square(encoded(image, kind), 16), 255, atol=3)


def test_grey_of_sixteen_bits_keeps_its_steps():
    grey = np.full((20, 20), 128 * 257, np.uint16)
    np.testing.assert_array_equal(square(encoded(Image.fromarray(grey)), 16), 128)


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_what_is_transparent_becomes_white(mode):
    image = Image.new("RGBA", (20, 20), (*RED, 0))
    content = encoded(image) if mode == "RGBA" else encoded(picture(RED, 20, 20, "P"), transparency=bytes(256))
    np.testing.assert_array_equal(square(content, 16), 255)


def test_a_picture_is_turned_as_its_camera_was():
    image = picture(RED, 40, 40)
    image.paste(GREEN, (0, 0, 40, 20))  # the upper half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise, which brings the upper half to the right
    turned = corners(square(encoded(image, "JPEG", exif=exif, quality=95), 40))
    for found, expected in zip(turned[:4], (RED, GREEN, RED, GREEN), strict=True):
        np.testing.assert_allclose(found, expected, atol=12)


def test_damaged_metadata_do_not_spoil_a_picture():
    np.testing.assert_allclose(
        corners(square(encoded(picture(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff"), 16))[4], RED, 6
    )


def test_a_thread_of_pixels_gives_its_middle_without_a_huge_picture_between():
    image = picture(RED, 4000, 1)
    image.paste(GREEN, (1992, 0, 2008, 1))
    assert corners(square(encoded(image), 64))[4] == GREEN


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no picture", "no pictures, whatever their suffix"),
        (b"", "no pictures, whatever their suffix"),
        (truncated_jpeg(), "truncated or damaged"),
        (encoded(noise(40, 40))[:-200], "truncated or damaged"),
        (encoded(noise(40, 40), "BMP")[:-200], "truncated or damaged"),
        (encoded(noise(40, 40), "PPM"), "no pictures, whatever their suffix"),
    ],
)
def test_what_cannot_be_read_is_told(content, reason):
    with pytest.raises(UnreadableError, match=reason):
        square(content, 16)
