"""Writers: curated samples back to the format they came in."""
