"""``python -m covid_cnn``."""

from covid_cnn.cli import main

if __name__ == "__main__":
    main()
