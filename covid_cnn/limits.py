"""What an upload may be at most, in one place. Files are held to it by what their headers declare, before any work.

The sentences that refuse a file name the limit, so that a person knows what would be taken.
"""

# One image file, unpacked or packed in a .zip.
MAX_FILE_BYTES = 200 * 2**20
MAX_PIXELS = 64_000_000
MIN_SIDE = 8  # px; below it there is no image to speak of

# A .zip. Medical images compress little, so that a high ratio tells a zip bomb.
MAX_ZIP_FILES = 100_000
MAX_ZIP_DIRECTORY_BYTES = 64 * 2**20  # its table of contents, which is held in memory
MAX_ZIP_BYTES = 50 * 2**30  # unpacked, all files together
MAX_ZIP_RATIO = 100  # unpacked, all files together, to the .zip itself
# Nesting: none. An archive within an archive is refused, so that nothing unpacks more than once.
ARCHIVE_SUFFIXES = frozenset({".zip", ".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst"})
