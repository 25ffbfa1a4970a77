"""Media tokens: what a picture, a sound or a PDF is thought to cost, before a provider says so.

Pictures by Anthropic's rule, a token for 750 pixels, with its most; OpenAI's and Google's rules
give a half to twice as much (https://docs.claude.com/en/docs/build-with-claude/vision).
"""

PIXELS_PER_TOKEN = 750
MOST_OF_A_PICTURE = 1_600
"""Tokens: providers scale larger pictures down to about this."""
LEAST_OF_A_PICTURE = 85
BYTES_PER_TOKEN_OF_SOUND = 500
"""A second of MP3 has 16,000 bytes, and is 10 to 32 tokens."""
BYTES_PER_TOKEN_OF_PDF = 100
"""A page has 50,000 to 200,000 bytes, and is about 2,000 tokens."""


def picture_tokens(size: tuple[int, int] | None) -> int:
    """Estimate the tokens of a picture.

    Args:
        size: width and height in pixels; None where they are not known.
    """
    if size is None:
        return MOST_OF_A_PICTURE
    tokens = size[0] * size[1] // PIXELS_PER_TOKEN
    return max(LEAST_OF_A_PICTURE, min(MOST_OF_A_PICTURE, tokens))


def sound_tokens(size: int) -> int:
    """Estimate the tokens of a sound of so many bytes."""
    return size // BYTES_PER_TOKEN_OF_SOUND


def pdf_tokens(size: int) -> int:
    """Estimate the tokens of a PDF of so many bytes."""
    return size // BYTES_PER_TOKEN_OF_PDF
