"""Between calls: counts losses as well as wins, so that what is recommended is what worked."""
