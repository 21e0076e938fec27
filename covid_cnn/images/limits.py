"""What an upload may be at most, in one place. Files are held to it by what their headers declare, before any work.

The sentences that refuse a file name the limit, so that a person knows what would be taken.
"""

MAX_UPLOAD_BYTES = 200 * 2**20  # of any kind; .streamlit/config.toml says the same to the browser
MAX_SESSION_BYTES = 400 * 2**20  # of all uploads together that one visitor's session holds
MAX_PAGE_IMAGES = 1000  # that a page shows at once, with a thumbnail each; the command line takes any number
# One image file, unpacked or packed in a .zip. With these, reading one takes less than 512 MiB in all.
MAX_FILE_BYTES = 100 * 2**20
MAX_PIXELS = 20_000_000  # of the frame that is read; chest radiographs have up to 18 million
MIN_SIDE = 8  # px; below it there is no image to speak of
MAX_FRAMES = 1000  # or pages
# What a file may have of its parts, each of which costs time whatever its size.
MAX_SEGMENTS = 20_000  # chunks of a PNG, segments of a JPEG before its data
MAX_SCANS = 64  # of a progressive JPEG; usual are ten
MAX_TILES = 1024  # of a JPEG 2000
MAX_READS = 200_000  # of the parser of DICOM: some three an element
MAX_WINDOWS = 32  # to choose from
MAX_PACKED_RATIO = 2  # of a compressed frame to what it says it unpacks to
# What is left out of a DICOM file where it is larger; the largest lookup table has 128 KiB.
MAX_ELEMENT_BYTES = 256 * 2**10
MAX_SEQUENCE_BYTES = 2**20
MAX_INFLATED_BYTES = 80 * 2**20  # of a deflated file: what 20 million pixels of 8-bit colour take, and more
# A codec that crashes or never ends at a damaged frame works in a process of its own. Processor time, not the
# clock, so that a busy computer refuses nothing, and beyond a second or so to start: more for large frames.
CODEC_SECONDS = 0.5
CODEC_PIXELS_PER_SECOND = 2_000_000
CODEC_WALL_SECONDS = 60
CODEC_BYTES = 192 * 2**20  # and of memory, with that of its libraries
CODEC_BYTES_PER_BYTE = 8  # more for each that a frame unpacks to: codecs and their bindings copy
# A .zip. Medical images compress little, so that a high ratio tells a zip bomb.
MAX_ZIP_FILES = 100_000
MAX_ZIP_DIRECTORY_BYTES = 64 * 2**20  # its table of contents, which is held in memory
MAX_ZIP_BYTES = 50 * 2**30  # unpacked, all files together
MAX_ZIP_RATIO = 100  # unpacked, all files together, to the .zip itself
# Nesting: none. An archive within an archive is refused, so that nothing unpacks more than once.
ARCHIVE_SUFFIXES = frozenset({".zip", ".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst"})
