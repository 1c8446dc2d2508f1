"""While a call is up: may drop, never blocks; a hint within its deadline, or none, never late."""
