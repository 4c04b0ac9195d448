"""From an encoded picture to RGB pixels, whatever its format, or one reason why not."""

import warnings
from io import BytesIO

import numpy as np
import PIL
from PIL import ExifTags, Image

MAX_PIXELS = 100_000_000  # of one picture; more is taken for a decompression bomb
# No EPS, whose reader runs a program, and nothing whose first bytes do not tell what it is.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000")

# The eight values of the EXIF tag Orientation, and what brings the picture upright.
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
    """One picture cannot be read. The message says why; whoever catches it adds the picture's place."""


def decode(data: bytes) -> Image.Image:
    """An encoded picture as an image of mode RGB, in memory.

    The format is told by the content. Grey and palette pictures become RGB, CMYK is converted, transparent
    pixels lie on white, 16 bits are reduced to their upper 8, the EXIF rotation is applied, and an animation
    gives its first frame. Colour profiles are ignored. Raises Unreadable: truncated or damaged files, other
    formats, more than 100 million pixels, pixels of 32 bits.

    # Paper: the authors' Caffe (OpenCV) ignored the EXIF rotation, which few pictures of ILSVRC have.
    """
    if not data:
        raise Unreadable("is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on odd metadata; what matters raises
            image = Image.open(BytesIO(data), formats=FORMATS)
            if image.width * image.height > MAX_PIXELS:
                raise Unreadable(f"has {image.width}x{image.height} pixels, more than {MAX_PIXELS:,}")
            image.load()
            return _rgb(_upright(image))
    except (Unreadable, MemoryError):
        raise
    except PIL.UnidentifiedImageError:
        raise Unreadable("is damaged or in no known picture format") from None
    except Exception as error:  # PIL raises nearly anything on damaged files
        raise Unreadable(f"is damaged ({reason_of(error)})") from None


def reason_of(error: Exception) -> str:
    """The message of an exception of any kind, in 200 characters at most."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text)[:200]


def _upright(image: Image.Image) -> Image.Image:
    try:
        # After load(): PIL turns TIFF pictures by itself, and then drops the tag.
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # damaged metadata in a sound picture: no viewer would turn it
        return image
    method = UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits, or 16 in the clothes of 32
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
