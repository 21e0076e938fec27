"""Words that sentences on every floor are put together from."""


def count(number: int, one: str, several: str = "") -> str:
    """So many of something: "1 image", "3 images"; ``several`` is ``one`` with an s where it is not given."""
    return f"1 {one}" if number == 1 else f"{number} {several or one + 's'}"
