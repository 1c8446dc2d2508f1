"""The local servers that come as wheels, started as children when no URL names a real one.

`Stack` runs PostgreSQL, the graph (ArcadeDB over Bolt), Valkey and Chroma on one data folder;
`running_stack` finds the one another process runs there; `DataFolderLock` is the right to write
to the folder. Installed by the extra ``embedded``.
"""

from agent_sidecar.embedded.folder import DataFolderLock
from agent_sidecar.embedded.stack import Stack
from agent_sidecar.embedded.urls import StackUrls, running_stack
from agent_sidecar.embedded.wheels import missing_parts

__all__ = ["DataFolderLock", "Stack", "StackUrls", "missing_parts", "running_stack"]
