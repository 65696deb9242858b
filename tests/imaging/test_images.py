"""Reading images: every kind reads right or is refused in one line."""

import io
import os
import socket
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from perception.errors import ImageError
from perception.imaging.read import read_header, read_image

RED = (200, 30, 10)


def file_bytes(image, suffix, **options):
    buffer = io.BytesIO()
    image.save(buffer, suffix, **options)
    return buffer.getvalue()


def gradient(height=6, width=8):
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.arange(width) * 20 % 256
    image[..., 1] = np.arange(height)[:, None] * 30 % 256
    return image


def raw_png(width, height, *, bits=8, color_type=2, data=b"", extra=b""):
    """A PNG written by hand, so that its size can be a lie."""

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("suffix", ["PNG", "BMP", "TIFF", "PPM", "TGA"])
def test_lossless_files(suffix):
    image = gradient()
    np.testing.assert_array_equal(read_image(file_bytes(Image.fromarray(image), suffix)), image)


@pytest.mark.parametrize("suffix", ["JPEG", "WEBP", "JPEG2000"])
def test_lossy_files(suffix):
    read = read_image(file_bytes(Image.new("RGB", (9, 5), RED), suffix))
    assert read.shape == (5, 9, 3)
    assert np.abs(read.astype(int) - RED).max() <= 6


def test_path_bytes_pillow_and_array_agree(tmp_path):
    image = gradient()
    path = tmp_path / "прогулка 散歩 🍕.png"
    Image.fromarray(image).save(path)
    for source in (path, str(path), path.read_bytes(), Image.open(path), image):
        read = read_image(source)
        assert read.dtype == np.uint8
        assert read.flags.c_contiguous
        np.testing.assert_array_equal(read, image)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    """Pillow's own transposition is the reference."""
    from PIL import ImageOps

    image = Image.fromarray(gradient())
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = file_bytes(image, "PNG", exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    np.testing.assert_array_equal(read_image(data), expected)


def test_damaged_exif_is_ignored():
    data = file_bytes(Image.fromarray(gradient()), "PNG", exif=b"Exif\x00\x00MM\x00*\xff\xff")
    assert read_image(data).shape == (6, 8, 3)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr"])
def test_other_modes_read_as_their_color(mode):
    color = (255, 255, 255) if mode in "1L" else RED
    suffix = "TIFF" if mode in ("CMYK", "YCbCr") else "PNG"
    image = Image.new("RGB", (4, 3), color)
    converted = image.quantize(2) if mode == "P" else image.convert(mode)
    read = read_image(file_bytes(converted, suffix))
    assert read.shape == (3, 4, 3)
    assert np.abs(read.astype(int) - color).max() <= 30


def test_cmyk_jpeg():
    read = read_image(file_bytes(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"))
    assert np.abs(read.astype(int) - (255, 0, 0)).max() <= 8


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_is_laid_on_white(mode):
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 255))
    assert read_image(image.convert(mode))[0].tolist() == [[255] * 3, [0] * 3]


def test_half_transparency_blends():
    image = np.array([[[0, 0, 0, 128], [255, 0, 0, 51], [9, 9, 9, 255]]], np.uint8)
    assert read_image(image)[0].tolist() == [[127] * 3, [255, 204, 204], [9, 9, 9]]


def test_palette_and_color_key_transparency():
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putpixel((1, 0), 1)
    read = read_image(file_bytes(palette, "PNG", transparency=0))
    assert read[0].tolist() == [[255, 255, 255], [0, 0, 255]]
    keyed = Image.new("RGB", (1, 1), (10, 20, 30))
    assert (
        read_image(file_bytes(keyed, "PNG", transparency=(10, 20, 30)))[0, 0].tolist() == [255] * 3
    )


@pytest.mark.parametrize("suffix", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_grey_is_scaled_not_clipped(suffix):
    values = np.array([[0, 257, 128, 30000, 65535]], np.uint16)
    read = read_image(file_bytes(Image.fromarray(values), suffix))
    assert read[0, :, 0].tolist() == [0, 1, 0, 117, 255]
    assert (read[..., 0] == read[..., 2]).all()


def test_sixteen_bit_color_png():
    data = raw_png(1, 1, bits=16, data=b"\x00" + struct.pack(">HHH", 65535, 32768, 0))
    assert np.abs(read_image(data)[0, 0].astype(int) - (255, 128, 0)).max() <= 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.0, 0.5, 1.0], [0, 128, 255]), ([0.0, 7.0, 255.0], [0, 7, 255]), ([0, 65535.0], [0, 255])],
)
def test_float_grey(values, expected):
    image = Image.fromarray(np.array([values], np.float32))
    assert read_image(image)[0, :, 0].tolist() == expected


@pytest.mark.parametrize("value", [-1.0, 1e6, np.nan])
def test_float_grey_out_of_range_is_refused(value):
    with pytest.raises(ImageError, match="grey values outside"):
        read_image(Image.fromarray(np.array([[value]], np.float32)))


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 3), (3, 4, 4)])
def test_arrays(shape):
    read = read_image(np.full(shape, 255, np.uint8))
    assert read.shape == (3, 4, 3)
    assert (read == 255).all()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 4, 3), np.float32),
        np.zeros((3, 4, 2), np.uint8),
        np.zeros((1, 3, 4, 3), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
    ],
)
def test_other_arrays_are_refused(array):
    with pytest.raises(ImageError, match="expected a uint8 array"):
        read_image(array)


def test_other_things_are_refused():
    with pytest.raises(ImageError, match="got int"):
        read_image(7)


@pytest.mark.parametrize("suffix", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_one_pixel(suffix):
    assert read_image(file_bytes(Image.new("RGB", (1, 1), RED), suffix)).shape == (1, 1, 3)


@pytest.mark.parametrize("suffix", ["GIF", "WEBP", "PNG", "TIFF"])
def test_several_frames_are_refused(suffix):
    frames = [Image.new("RGB", (4, 4), (shade, 0, 0)) for shade in (0, 120, 250)]
    data = file_bytes(frames[0], suffix, save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match=r"3 (frames|pages) in one file"):
        read_image(data)


def test_mpo_reads_its_main_picture():
    main, preview = Image.new("RGB", (16, 16), RED), Image.new("RGB", (8, 8), (0, 0, 255))
    data = file_bytes(main, "MPO", save_all=True, append_images=[preview])
    assert np.abs(read_image(data)[0, 0].astype(int) - RED).max() <= 6


def test_huge_picture_is_refused_before_it_is_unpacked():
    with pytest.raises(ImageError, match=r"20000 x 20000 pixels .* 200,000,000"):
        read_image(raw_png(20_000, 20_000))
    with pytest.raises(ImageError, match="limit of 10"):
        read_image(Image.new("RGB", (4, 4)), max_pixels=10)


def test_limit_can_be_raised_above_pillows():
    limit = Image.MAX_IMAGE_PIXELS
    with pytest.raises(ImageError, match="damaged or cut off"):
        read_image(raw_png(20_000, 20_000, color_type=0), max_pixels=400_000_000)
    assert limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("suffix", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "JPEG2000"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7])
def test_truncated_files_are_refused(suffix, share):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = file_bytes(Image.fromarray(noise), suffix)
    with pytest.raises(ImageError) as caught:
        read_image(data[: int(len(data) * share)])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"hello", b"<html>", b"\x00" * 100, b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_other_files_are_refused(data):
    with pytest.raises(ImageError, match="not an image"):
        read_image(data)


def test_file_system_errors_name_the_path(tmp_path):
    empty = tmp_path / "empty.png"
    empty.touch()
    for path, message in [
        (empty, "0 bytes"),
        (tmp_path / "none.png", "no such file"),
        (tmp_path, "a folder"),
        (empty / "below.png", "can't be opened"),
        (str(tmp_path / "a\0b"), "can't be opened"),
    ]:
        with pytest.raises(ImageError, match=message) as caught:
            read_image(path)
        assert str(tmp_path) in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_unreadable_file(tmp_path):
    path = tmp_path / "secret.png"
    path.touch(mode=0)
    with pytest.raises(ImageError, match="permission denied"):
        read_image(path)


def test_a_line_break_in_a_name_stays_in_one_line():
    with pytest.raises(ImageError) as caught:
        read_image("no\nsuch.png")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_header_tells_the_size_that_is_read(tmp_path, orientation):
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (30, 20)).save(path, exif=exif)
    header = read_header(path)
    assert header == ((20, 30), orientation)
    assert header.image_hw == read_image(path).shape[:2]


def test_a_header_is_read_without_the_pixels(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(gradient(200, 300)).save(path)
    path.write_bytes(path.read_bytes()[:-800])
    assert read_header(path).image_hw == (200, 300)
    with pytest.raises(ImageError, match="cut off"):
        read_image(path)


def test_a_header_of_no_picture(tmp_path):
    with pytest.raises(ImageError, match="no such file"):
        read_header(tmp_path / "none.jpg")
    with pytest.raises(ImageError, match="a folder, not an image"):
        read_header(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"nothing")
    with pytest.raises(ImageError, match="not an image"):
        read_header(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    ("reduced", "shape"), [(1, (100, 42, 3)), (2, (50, 21, 3)), (8, (13, 6, 3))]
)
def test_a_jpeg_can_be_read_smaller(tmp_path, reduced, shape):
    """Upright all the same; a PNG comes whole."""
    image = Image.new("RGB", (100, 42), (200, 30, 30))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    image.save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.jpg", reduced=reduced).shape == shape
    assert read_image((tmp_path / "a.jpg").read_bytes(), reduced=reduced).shape == shape
    assert read_image(tmp_path / "a.png", reduced=reduced).shape == (42, 100, 3)


def test_a_decoder_with_errors_of_its_own(tmp_path):
    """AVIF's raises RuntimeError: here for a file whose main image is none of those in it."""
    Image.init()
    if "AVIF" not in Image.SAVE:
        pytest.skip("this Pillow has no AVIF")
    data = bytearray(file_bytes(Image.fromarray(gradient(40, 40)), "AVIF"))
    at = data.index(b"pitm")
    data[at + 9] ^= 0x55
    (tmp_path / "a.avif").write_bytes(data)
    for read in (read_image, read_header):
        with pytest.raises(ImageError, match=r"a\.avif: .*damaged") as caught:
            read(tmp_path / "a.avif")
        assert "\n" not in str(caught.value)


def test_memory_that_runs_out_is_no_damage(monkeypatch):
    """Whoever asked for the image reports it, or tries with fewer at once."""

    def exhausted(image):
        raise MemoryError

    image = Image.open(io.BytesIO(file_bytes(Image.fromarray(gradient()), "PNG")))
    monkeypatch.setattr(image, "load", lambda: exhausted(image))
    with pytest.raises(MemoryError):
        read_image(image)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate"])
def test_tiffs_are_held_to_our_limit_alone(monkeypatch, compression):
    """Pillow checks their tiles again while they are unpacked: its limit is 179 megapixels."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    image = gradient(60, 50)
    data = file_bytes(Image.fromarray(image), "TIFF", compression=compression)
    np.testing.assert_array_equal(read_image(data), image)
    assert Image.MAX_IMAGE_PIXELS == 1000
    with pytest.raises(ImageError, match=r"50 x 60 pixels are more than the limit of 2,999"):
        read_image(data, max_pixels=2999)
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_an_image_that_is_larger_inside_than_its_header_says():
    """An icon whose entry says 16 x 16 and holds a PNG of 20,000 x 20,000."""
    inner = raw_png(20_000, 20_000, color_type=0)
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inner), 22)
    with pytest.raises(ImageError, match=r"more than the limit of 200,000,000"):
        read_image(struct.pack("<HHH", 0, 1, 1) + entry + inner)


def test_pillows_limit_comes_back_after_many_threads():
    before = Image.MAX_IMAGE_PIXELS
    data = [
        file_bytes(Image.fromarray(gradient(90, 80)), suffix) for suffix in ("TIFF", "ICO", "PNG")
    ]
    with ThreadPoolExecutor(8) as threads:
        limits = [10**6 + number % 3 for number in range(96)]
        sources = [data[number % 3] for number in range(96)]
        shapes = list(
            threads.map(lambda one, limit: read_image(one, max_pixels=limit).shape, sources, limits)
        )
    assert len(shapes) == 96
    assert before == Image.MAX_IMAGE_PIXELS


def test_libtiff_says_nothing_of_its_own(capfd):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = bytearray(file_bytes(Image.fromarray(noise), "TIFF", compression="tiff_adobe_deflate"))
    data[200:210] = b"0123456789"
    with pytest.raises(ImageError, match="damaged or cut off"):
        read_image(bytes(data))
    os.write(2, b"still there")
    assert capfd.readouterr().err == "still there"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
@pytest.mark.parametrize("kind", ["a named pipe", "a socket", "a device"])
def test_only_regular_files_are_read(tmp_path, monkeypatch, kind):
    """Each of these would be waited for without end."""
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        if kind == "a named pipe":
            os.mkfifo("a.jpg")
        elif kind == "a socket":
            server.bind("a.jpg")
        else:
            os.symlink("/dev/zero", "a.jpg")
        for read in (read_image, read_header):
            with pytest.raises(ImageError, match=f"a.jpg: {kind}, not a regular file"):
                read("a.jpg")


def test_a_url_is_answered_with_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(ImageError, match="a URL, and nothing is fetched here; download it first"):
        read_image("https://example.org/a.png")
    # A folder may be called like one.
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "https:" / "a.png"
    path.parent.mkdir()
    Image.new("RGB", (3, 2)).save(path)
    assert read_image("https://a.png").shape == (2, 3, 3)
