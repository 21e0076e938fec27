"""``python -m covid_cnn``."""

import gc

gc.disable()  # nothing of what is imported is garbage, and to look for it would take a tenth of a prediction's time
from covid_cnn.cli import main  # noqa: E402

gc.freeze()
gc.enable()

if __name__ == "__main__":
    main()
