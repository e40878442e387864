"""What the driver says of a server that is none of MongoDB's, in our words."""

from __future__ import annotations

from pymongo.errors import ServerSelectionTimeoutError

from orchestrator.engines.mongodb.connection import Target, explained
from orchestrator.engines.mongodb.options import Options
from orchestrator.model.execution import Address

TOPOLOGY = ", Timeout: 5.0s, Topology Description: <TopologyDescription id: 6b01, servers: [<ServerDescription …>]>"


def test_another_kind_of_server() -> None:
    place = Address("db.example", 6379)
    target = Target(Options(), place, place, None, None, "dump")
    found = explained(ServerSelectionTimeoutError("Got response id 825046318 but expected 7" + TOPOLOGY), target)
    assert found.message == "mongodb at db.example:6379: does not speak MongoDB's protocol"
    assert "correct host and port" in str(found.hint)
    closed = ServerSelectionTimeoutError("db.example:6379: connection closed (configured timeouts: x)" + TOPOLOGY)
    found = explained(closed, target)
    assert found.message.endswith("the connection was lost: db.example:6379: connection closed")
    assert "MongoDB's port" in str(found.hint)
