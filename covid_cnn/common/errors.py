"""The errors a user can cause. Each carries one sentence that says what is wrong and what to do."""


class CovidCnnError(Exception):
    """Base of all errors whose message is a sentence for the user, shown as it stands."""


class ImageError(CovidCnnError):
    """A file that cannot be read as one radiograph."""

    def __init__(self, sentence: str, name: str = "") -> None:
        super().__init__(sentence)
        self.name = name  # as it may be shown: what a DICOM file says of its patient is struck out of it


class ArchiveError(CovidCnnError):
    """A .zip that cannot be read, or is not safe to unpack."""


class DatasetError(CovidCnnError):
    """A dataset that is missing, empty, or not laid out as one."""


class BundleError(CovidCnnError):
    """A model bundle that is missing, damaged, or of another schema."""


class RunError(CovidCnnError):
    """A training run that cannot be started, found or continued."""
