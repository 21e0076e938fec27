"""What a DICOM file says of itself, without repeating anything that could tell who the patient is.

Free text in a file may hold a name wherever it stands, so of what a file says only numbers and the words listed here
are shown.
"""

import contextlib
import re
from pathlib import Path
from typing import TypedDict

import pydicom
from pydicom.multival import MultiValue

from covid_cnn.images.reader import IMAGE_SUFFIXES

_NOT_XRAY = {"CT", "MR", "US", "PT", "NM"}
_MODALITIES = _NOT_XRAY | {"CR", "DX", "DR", "RG", "RF", "XA", "MG", "PX", "IO", "SC", "OT"}
_CHEST_LIKE = ("CHEST", "THORA", "TORA", "LUNG", "PULM", "RIB")
# After PS3.16, annex L.
_OTHER_PART = re.compile(
    r"(ABDOMEN|ANKLE|ARM|BLADDER|BRAIN|BREAST|CALCANEUS|CALF|CLAVICLE|COCCYX|COLON|CSPINE|CTSPINE|EAR|ELBOW|"
    r"ESOPHAGUS|EXTREMITY|EYE|FACE|FEET|FEMUR|FINGER|FOOT|FOREARM|HAND|HEAD|HEART|HIP|HUMERUS|JAW|KIDNEY|KNEE|"
    r"LEG|LIVER|LSPINE|LSSPINE|MANDIBLE|NECK|NOSE|ORBIT|PANCREAS|PATELLA|PELVIS|RADIUS|SACRUM|SCAPULA|SHOULDER|"
    r"SINUS|SKULL|SPINE|SPLEEN|SSPINE|STERNUM|STOMACH|TEETH|THIGH|THUMB|TIBIA|TLSPINE|TMJ|TOE|TSPINE|ULNA|"
    r"WHOLEBODY|WRIST|ZYGOMA)S?"
)
_FRONTAL = {"AP", "PA", "FRONTAL", "ANTEROPOSTERIOR", "POSTEROANTERIOR", "ANTERO", "POSTERO"}
_OTHER_VIEWS = {
    "a decubitus": {"LLD", "RLD", "DECUBITUS"},
    "an oblique": {"LLO", "RLO", "LAO", "RAO", "LPO", "RPO", "OBL", "OBLIQUE"},
    "a lateral": {"LL", "RL", "LAT", "LATERAL"},
}
# What may stand in a file's name, because archives make it of these.
_NAME_TAGS = ("PatientName", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName")
_NUMBER_TAGS = ("PatientID", "OtherPatientIDs", "AccessionNumber")
_DATE_TAGS = ("PatientBirthDate", "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")


def numbers(dataset: pydicom.Dataset, tag: str) -> list[float]:
    """The tag's values, or none where they are no numbers."""
    with contextlib.suppress(ValueError, TypeError):
        value = dataset.get(tag)
        if isinstance(value, bytes):  # of a VR that says no type
            little_endian = dataset.original_encoding[1] is not False
            return [float(int.from_bytes(value[:2], "little" if little_endian else "big"))] if value else []
        values = value if isinstance(value, MultiValue) else [value]
        return [float(number) for number in values if number is not None and number != ""]
    return []


def plain_words(value: object) -> str:
    """Upper-case words with single spaces between them; never to be shown as it is."""
    return " ".join(re.findall(r"[^\W_]+", str(value or "").upper()))


def words_of(dataset: pydicom.Dataset, *tags: str) -> str:
    """The words of some tags, in upper case with single spaces between; never to be shown as they are."""
    return " ".join(filter(None, (plain_words(dataset.get(tag)) for tag in tags)))


def meanings(dataset: pydicom.Dataset, tag: str) -> str:
    """The words of the code meanings of a sequence."""
    return " ".join(words_of(item, "CodeMeaning") for item in dataset.get(tag) or [])


def modality(dataset: pydicom.Dataset) -> str:
    """What made the image, such as "CR"; empty unless it is one of DICOM's codes (PS3.3, C.7.3.1.1.1)."""
    word = words_of(dataset, "Modality")
    return word if word in _MODALITIES else ""


class PixelSpacing(TypedDict):
    """Millimetres a pixel, down and across, and whether they are the detector's (see ``Radiograph``)."""

    spacing: tuple[float, float] | None
    at_detector: bool


def pixel_spacing(dataset: pydicom.Dataset) -> PixelSpacing:
    """How far apart the pixels are: calibrated (PixelSpacing), or else at the detector (ImagerPixelSpacing).

    PixelSpacing that only repeats the detector's, and is not said to be calibrated, is the detector's (PS3.3,
    10.7.1.3).
    """
    imager = numbers(dataset, "ImagerPixelSpacing")
    for tag in ("PixelSpacing", "ImagerPixelSpacing"):
        found = numbers(dataset, tag)
        if len(found) == 2 and all(0 < side < 100 for side in found):  # also false where it is not a number
            at_detector = found == imager and not words_of(dataset, "PixelSpacingCalibrationType")
            return {"spacing": (found[0], found[1]), "at_detector": at_detector}
    return {"spacing": None, "at_detector": False}


def tag_warnings(dataset: pydicom.Dataset) -> list[str]:
    """What the tags say against its being a frontal chest X-ray, a sentence each."""
    warnings = []
    modality = words_of(dataset, "Modality")
    if modality in _NOT_XRAY:
        warnings.append(f"The file says that this is {modality}, not an X-ray.")
    warnings += _body_part_warning(dataset)
    if view := _other_view(dataset):
        warnings.append(f"The file says this is {view} view; the models are trained on frontal views.")
    if words_of(dataset, "PresentationIntentType") == "FOR PROCESSING":
        warnings.append("The file holds a detector's raw values, which look unlike the images the models learned from.")
    if words_of(dataset, "BurnedInAnnotation") == "YES":
        warnings.append("The file says that writing is burned into the image; look whether it names the patient.")
    return warnings


def _body_part_warning(dataset: pydicom.Dataset) -> list[str]:
    stated = f"{words_of(dataset, 'BodyPartExamined')} {meanings(dataset, 'AnatomicRegionSequence')}".strip()
    text = stated or words_of(dataset, "StudyDescription", "SeriesDescription", "ProtocolName")
    if any(word in text for word in _CHEST_LIKE) and "SPINE" not in text:
        return []
    for word in (text.replace(" ", ""), *text.split()):
        if part := _OTHER_PART.fullmatch(word):
            return [f"The file says the body part is {part[1]}, not chest."]
    return ["The file names a body part that is not known to be the chest."] if stated else []


def _other_view(dataset: pydicom.Dataset) -> str:
    """What the view is called if it is not frontal, article included; the first source that tells decides."""
    described = words_of(dataset, "SeriesDescription", "ProtocolName", "AcquisitionDeviceProcessingDescription")
    for text in (words_of(dataset, "ViewPosition"), meanings(dataset, "ViewCodeSequence"), described):
        words = set(text.split())
        if words & _FRONTAL:
            return ""
        for view, names in _OTHER_VIEWS.items():
            if words & names:
                return view
    along_rows = words_of(dataset, "PatientOrientation")[:1]  # across a frontal view they run from left to right
    return "a lateral" if along_rows in ("A", "P") else ""


def depersonalize(name: str, dataset: pydicom.Dataset) -> str:
    """The file's name with the patient's names, numbers and dates struck out."""
    suffix = Path(name).suffix if Path(name).suffix.lower() in IMAGE_SUFFIXES else ""  # else it may be a name, too
    stem = name.removesuffix(suffix)
    for word in words_of(dataset, *_NAME_TAGS, *_NUMBER_TAGS).split():
        if len(word) >= 4:
            stem = re.sub(word, "***", stem, flags=re.IGNORECASE)
        elif len(word) > 1 and word.isalpha():
            stem = re.sub(rf"(?<![^\W_]){word}(?![^\W_])", "***", stem, flags=re.IGNORECASE)
    for date in words_of(dataset, *_DATE_TAGS).split():
        if match := re.fullmatch(r"(\d{4})(\d\d)(\d\d)", date):
            year, month, day = match.groups()
            for parts in ((year, month, day), (day, month, year), (month, day, year)):
                stem = re.sub(r"[\W_]?".join(parts), "***", stem)
    return stem + suffix
