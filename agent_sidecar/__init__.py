"""A sidecar for live sales calls on Telnyx.

The life of a call, folder by folder:

    simulator/  plays recorded calls as Telnyx would; users have the real Telnyx here
    web/        one port: media socket, webhooks, hints, API
    live/       while the call is up: feeds `domain`, performs what it asks for, hints and transfers
    domain/     pure: what a call is and what we conclude from it
    wrapup/     after the call: journal first, then every store, once in effect
    learning/   between calls: what works
    adapters/   one module per vendor and role; embedded/ the servers that come as wheels

`app` puts it together, `cli` is the command line, `settings` what can be set, `ports` every side
effect as a Protocol.
"""

import os

# onnxruntime reports its use to its maker unless told not to before it is imported
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
