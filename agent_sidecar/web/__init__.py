"""The inbound edge, one port: media socket, webhooks, hints, API. Refuses clearly, decides nothing.

What comes in is checked here and handed to the parts in `parts.FrontDoorParts`; what may be slow,
wrong or hostile outside stays outside.
"""
