"""The canary: from outcomes to evidence, and from evidence to a decision. Pure: no files, no clock, no dice."""
