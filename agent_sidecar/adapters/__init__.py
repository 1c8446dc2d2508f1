"""One module per vendor and role: translates, decides nothing; vendor errors end here."""
