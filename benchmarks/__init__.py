"""Every speed and accuracy figure that the README states, one command each; README.md lists them."""
