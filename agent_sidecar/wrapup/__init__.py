"""After the call: may wait, never loses. Every record reaches every store, once in effect."""
