"""Personal data in text: found, replaced by placeholders, put back. Pure: no I/O, no clock, no dice."""
