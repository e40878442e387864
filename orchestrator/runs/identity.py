"""Whether the repository at a URL is the one whose restore points the catalog knows.

A disk that is not mounted leaves an empty folder, and another disk another repository: what is stored there then is no
continuation. For a local repository the answer costs no process; on a server only a listing tells.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.model.errors import Precondition, RepositoryMissing
from orchestrator.model.repository import Repository
from orchestrator.report.units import count
from orchestrator.runs.toolbox import Toolbox

_MOUNTED = "is its disk mounted, and its url right?"
_ABSENT = f"{_MOUNTED} if it is lost for good, `resguardo init --replace-lost` creates a new one there"
OTHER = f"{_MOUNTED} if the old one is lost for good, `resguardo init --replace-lost` goes on with this one"
_NEW = "create it with resguardo init"
_SHOWN = 3  # points that a text names


def trust(box: Toolbox, repository: Repository) -> None:
    """Note which repository it is that holds the restore points which the catalog knows."""
    if found := repository.fingerprint():
        box.catalog.put(_key(repository), found)
    box.catalog.put(_doubt(repository), "")


def doubt(box: Toolbox, repository: Repository) -> None:
    """Note that a listing knew nothing of ours: if it was another repository's, the trusted one must be listed again.

    Else what was flagged by the other would stay so.
    """
    known, found = box.catalog.get(_key(repository)), repository.fingerprint()
    box.catalog.put(_doubt(repository), "yes" if known and known != found else "")


def changed(box: Toolbox, repository: Repository) -> bool:
    """Whether another repository may stand here than the trusted one; restic's own upgrade of its format looks so too.

    Only a listing can tell those apart.
    """
    known, found = box.catalog.get(_key(repository)), repository.fingerprint()
    return bool(known and found and (known != found or box.catalog.get(_doubt(repository))))


def absent_hint(box: Toolbox, repository: Repository) -> str:
    """Return what to do about a repository that is not there: with restore points known, its disk may be missing."""
    return _ABSENT if _points(box, repository) else _NEW


def refuse_absent(box: Toolbox, repository: Repository) -> None:
    """Raise RepositoryMissing where a local repository with known restore points is not there."""
    if repository.fingerprint() == "":
        refuse_lost(box, repository)


def refuse_lost(box: Toolbox, repository: Repository) -> None:
    """Raise RepositoryMissing where restore points are known of a repository that is not there."""
    if points := _points(box, repository):
        raise RepositoryMissing(
            f"repository {repository.name}: there is none at {repository.describe()}, where the catalog knows"
            f" {count(points, 'restore point')}",
            _ABSENT,
        )


def refuse_other(box: Toolbox, repository: Repository) -> None:
    """Raise Precondition where a listing has shown that another repository stands here, without a point known here."""
    if changed(box, repository):
        raise Precondition(
            f"repository {repository.name}: another one stands at {repository.describe()}, without any restore point"
            " that is known here",
            OTHER,
        )


def lost_words(repository: str, points: Sequence[str]) -> str:
    """Say which restore points are gone from a repository."""
    some = ", ".join(points[:_SHOWN]) + (" …" if len(points) > _SHOWN else "")
    verb = "is" if len(points) == 1 else "are"
    return f"{count(len(points), 'restore point')} {verb} gone from repository {repository}: {some}"


def _points(box: Toolbox, repository: Repository) -> int:
    return len(box.catalog.points(repository=repository.name, items=False))


def _doubt(repository: Repository) -> str:
    return f"fingerprint.doubt.{repository.name}"


def _key(repository: Repository) -> str:
    return f"fingerprint.{repository.name}"
