"""The parts of the page, each a file; a third party adds its own in the same way."""
