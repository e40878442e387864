"""What the policy would keep over time, for every service and tier."""

from __future__ import annotations

from orchestrator.model.errors import UsageError
from orchestrator.planning.simulate import Calendar, Simulation, simulate
from orchestrator.planning.spans import Span
from orchestrator.runs import rules
from orchestrator.runs.toolbox import Toolbox


def simulate_all(box: Toolbox, span: str) -> list[tuple[str, str, Simulation]]:
    """Simulate `span` (such as 2y or 6m) from today's restore points on. Raises UsageError."""
    try:
        length = Span.parse(span)
    except ValueError:
        raise UsageError(f"--simulate {span!r} is no span of time", "such as 2y, 6m or 90d") from None
    policy = box.config.policy
    calendar = Calendar(
        backups=tuple(job.at for job in policy.jobs.values() if job.do == "backup"),
        forgets=tuple(job.at for job in policy.jobs.values() if job.do == "prune"),
        forget_every=policy.tidy.forget,
    )
    points = box.catalog.points(host=policy.host, items=False)
    in_force = rules.in_force(box, next(iter(box.repositories.values())))
    found = []
    for service, tier in sorted({(source.service, source.tier) for source in box.sources}):
        times = [point.time for point in points if (point.service, point.tier) == (service, tier) and point.whole]
        found.append(
            (
                service,
                tier,
                simulate(times, in_force.of_tier(tier), calendar, now=box.clock(), span=length, zone=in_force.zone),
            )
        )
    return found
