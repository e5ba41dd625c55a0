"""The sections of the page, one module each; other plugins add sections in the same way."""
