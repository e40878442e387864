"""What of the server's objects a dump must hold."""

from __future__ import annotations

import pytest

from orchestrator.engines._mysql.census import Census
from orchestrator.engines._mysql.dump import missing
from orchestrator.engines._mysql.inventory import Inventory

PROCEDURE = b"CREATE DEFINER=`a`@`b` PROCEDURE `%b`()\nSELECT 'x' ;;\n"
EVENT = b"/*!50106 CREATE*/ /*!50117 DEFINER=`a`@`b`*/ /*!50106 EVENT `%b` ON SCHEDULE EVERY 1 DAY DO SELECT 1 */ ;;\n"
VIEW = b"/*!50001 CREATE ALGORITHM=UNDEFINED */\n/*!50013 DEFINER=`a`@`b` */\n/*!50001 VIEW `%b` AS select 1 */;\n"


def held(kind: str, *names: str) -> Inventory:
    return Inventory((), frozenset((kind, name) for name in names))


@pytest.mark.parametrize(("kind", "text"), [("procedures", PROCEDURE), ("events", EVENT), ("views", VIEW)])
def test_as_many_objects_are_not_the_same_objects(kind: str, text: bytes) -> None:
    census = Census()
    pieces = b"".join(text % name for name in (b"one", b"tw``o"))
    census.feed(pieces if kind == "views" else b"DELIMITER ;;\n" + pieces + b"DELIMITER ;\n")
    census.end()
    assert census.objects[kind] == 2
    assert not missing(census, held(kind, "one", "tw`o"), held(kind, "one", "tw`o"))
    assert not missing(census, held(kind, "one"), held(kind, "one", "tw`o"))
    # what the dump lacks was there all the time; another came meanwhile
    assert missing(census, held(kind, "one", "three"), held(kind, "one", "three", "tw`o")) == f"{kind}: 'three'"
