"""Plays recorded calls through the sidecar's front door as Telnyx would, and hears what it says.

Independent of the service's own code for the same wires, so that one cannot hide a mistake of the
other. `player` plays one call, `replay` many; `control` answers the service's telephony commands.
"""
