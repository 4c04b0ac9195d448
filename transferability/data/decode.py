"""From an encoded image to RGB pixels, whatever its format, or one reason why not."""

import warnings
from io import BytesIO

import numpy as np
import PIL
from PIL import ExifTags, Image

MAX_PIXELS = 100_000_000  # of one image; more is taken for a decompression bomb
# Not EPS, whose reader runs a program, nor formats that cannot be told by their first bytes.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000")

# The eight values of the EXIF tag Orientation, and the operation that brings the image upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Unreadable(Exception):
    """One image cannot be read. The message says why; the caller adds where the image is."""


def decode(data: bytes) -> Image.Image:
    """An encoded image as an image of mode RGB, in memory.

    The content tells the format. Grey and palette images become RGB, CMYK is converted, transparent pixels lie on
    white, 16 bits are reduced to their upper 8, the EXIF rotation is applied, and an animation gives its first frame.
    Colour profiles are ignored. Raises Unreadable: truncated or damaged files, other formats, more than 100 million
    pixels, pixels of 32 bits.

    # Paper: the authors' Caffe (OpenCV) ignored the EXIF rotation, which few images of ILSVRC have.
    """
    if not data:
        raise Unreadable("is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd metadata; serious faults are exceptions
            image = Image.open(BytesIO(data), formats=FORMATS)
            if image.width * image.height > MAX_PIXELS:
                raise Unreadable(f"has {image.width}x{image.height} pixels, more than {MAX_PIXELS:,}")
            image.load()
            return as_rgb(image)
    except (Unreadable, MemoryError):
        raise
    except PIL.UnidentifiedImageError:
        raise Unreadable("is damaged or in no known picture format") from None
    except Exception as error:  # Pillow raises many types on damaged files
        if is_mistake(error):
            raise
        raise Unreadable(f"is damaged ({reason_of(error)})") from None


def as_rgb(image: Image.Image) -> Image.Image:
    """An image of any mode as `decode` returns it. Raises Unreadable where its pixels have no known scale."""
    return _rgb(_upright(image))


def is_mistake(error: Exception) -> bool:
    """Whether an exception comes of a mistake in the program, or of a library of another version, not of a bad file.

    AttributeError, NameError and TypeError do, unless one of Pillow's readers raised it: some damaged TIFFs cause that.
    """
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    module = frame.tb_frame.f_globals.get("__name__", "") if frame is not None else ""
    by_reader = module.startswith("PIL.") and module != "PIL.Image"
    return isinstance(error, (AttributeError, NameError, TypeError)) and not by_reader


def reason_of(error: Exception) -> str:
    """The message of an exception of any type, in 200 characters at most."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text)[:200]


def _upright(image: Image.Image) -> Image.Image:
    try:
        # After load(): Pillow itself turns TIFF images, and then drops the tag.
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception as error:  # damaged metadata in a sound image: viewers ignore them
        if is_mistake(error):
            raise
        return image
    method = UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits per pixel, which some formats hold as 32
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise Unreadable("has pixels of 32 bits, whose scale is unknown")
        image = Image.fromarray((values >> 8).astype(np.uint8))
    if image.mode == "F":
        raise Unreadable("has floating-point pixels, whose scale is unknown")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image if image.mode == "RGB" else image.convert("RGB")
