"""The wheel and the sdist, built and installed as a user does: `make package`."""
