"""Our retention decides as the real `restic forget --dry-run --json` does, reason by reason, on every known version."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from orchestrator.planning.retention import decide
from tests.integration.forge import Forge
from tests.restics import RESTIC_VERSIONS, restic_of
from tests.unit.planning.points import Rules, point
from tests.weak_key import Aes

ZONES = ("UTC", "Asia/Tokyo", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu")
COUNTS = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
SPANS = ("within", *(f"within_{name}" for name in COUNTS[1:]))


@pytest.fixture(scope="module", params=RESTIC_VERSIONS)
def forge(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Forge:
    folder = tmp_path_factory.mktemp("forge")
    made = Forge(restic_of(request.param), folder / "repository", folder / "cache")
    made.create()
    return made


def counts() -> st.SearchStrategy[int | None]:
    return st.one_of(st.none(), st.integers(1, 9), st.just(-1))


def spans() -> st.SearchStrategy[str | None]:
    part = st.tuples(st.integers(0, 2), st.integers(0, 14), st.integers(0, 40), st.integers(0, 50))
    text = part.map(lambda p: "".join(f"{n}{u}" for n, u in zip(p, "ymdh", strict=True) if n))
    return st.one_of(st.none(), text.filter(bool))


@st.composite
def rules(draw: st.DrawFn) -> Rules:
    """One to four rules: with all twelve at once every point would be kept."""
    names = draw(st.lists(st.sampled_from(COUNTS + SPANS), min_size=1, max_size=4, unique=True))
    values = {name: draw((counts() if name in COUNTS else spans()).filter(bool)) for name in names}
    return Rules(**values)


@st.composite
def histories(draw: st.DrawFn) -> list[datetime]:
    """Instants in the past at several densities, so that hours, days, weeks, months and years hold several points."""
    end = draw(st.datetimes(datetime(2019, 1, 1), datetime(2026, 1, 1)))  # noqa: DTZ001 - made aware below
    steps = st.sampled_from([60, 1700, 3600, 7000, 86_399, 86_400, 200_000, 604_800, 2_500_000, 20_000_000])
    gaps = draw(st.lists(st.tuples(steps, st.integers(1, 4000)), max_size=30))
    instants, at = [], end.replace(microsecond=0, tzinfo=UTC)
    for step, jitter in gaps:
        instants.append(at)
        at -= timedelta(seconds=step + jitter)
    return [*instants, at]


def words(ours: str) -> str:
    """Translate one of our reasons into restic's words."""
    return ours if "within" in ours else f"{ours} snapshot"


def by_restic(forge: Forge, times: list[datetime], wanted: Rules, zone: str) -> dict[datetime, list[str]]:
    place = ZoneInfo(zone)
    ids = forge.snapshots(time.astimezone(place) for time in times)
    options = []
    for name in COUNTS + SPANS:
        value = getattr(wanted, name)
        if value:
            options += [f"--keep-{name.replace('_', '-')}", "unlimited" if value == -1 else str(value)]
    text = forge.call("forget", "--dry-run", "--no-lock", "--no-cache", "--json", "-q", *options, zone=zone)
    (group,) = json.loads(text)
    assert {kept["id"] for kept in group["keep"]} | {gone["id"] for gone in group["remove"] or ()} == set(ids)
    return {ids[why["snapshot"]["id"]].astimezone(UTC): why["matches"] for why in group["reasons"]}


def by_us(times: list[datetime], wanted: Rules, zone: str) -> dict[datetime, list[str]]:
    points = [point(time) for time in times]
    decision = decide(points, wanted, datetime.now(UTC), zone)
    assert len(decision.keep) + len(decision.remove) == len(times)
    return {kept.point.time: [words(reason) for reason in kept.reasons] for kept in decision.keep}


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(times=histories(), wanted=rules(), zone=st.sampled_from(ZONES))
@example(
    times=[datetime(2024, 3, 31, 12, tzinfo=UTC) - timedelta(days=n) for n in range(40)],
    wanted=Rules(within="1m"),
    zone="UTC",
)
@example(
    times=[datetime(2024, 2, 29, 12, tzinfo=UTC) - timedelta(days=n * 30) for n in range(30)],
    wanted=Rules(within_monthly="1y"),
    zone="UTC",
)
@example(
    times=[datetime(2024, 11, 3, 9, tzinfo=UTC) - timedelta(minutes=n * 20) for n in range(30)],
    wanted=Rules(hourly=5),
    zone="Europe/Berlin",
)
@example(
    times=[datetime(2023, 10, 29, 3, tzinfo=UTC) - timedelta(minutes=n * 20) for n in range(12)],
    wanted=Rules(hourly=-1),
    zone="Europe/Berlin",
)
@example(
    times=[datetime(2021, 1, 6, tzinfo=UTC) - timedelta(days=n) for n in range(20)],
    wanted=Rules(weekly=2, yearly=1),
    zone="Asia/Tokyo",
)
@example(
    times=[datetime(2021, 1, 6, tzinfo=UTC) - timedelta(days=n) for n in range(12)],
    wanted=Rules(daily=7, weekly=4),
    zone="UTC",
)
def test_decides_as_restic_does(forge: Forge, times: list[datetime], wanted: Rules, zone: str) -> None:
    assert by_us(times, wanted, zone) == by_restic(forge, times, wanted, zone)


def test_the_comparison_can_fail(forge: Forge) -> None:
    """Two instants of one day in Tokyo lie in two days of UTC: with the wrong zone the two sides differ."""
    times = [
        datetime(2024, 5, 2, 1, tzinfo=UTC),
        datetime(2024, 5, 1, 23, tzinfo=UTC),
        datetime(2024, 4, 1, tzinfo=UTC),
    ]
    assert by_us(times, Rules(daily=2), "Asia/Tokyo") == by_restic(forge, times, Rules(daily=2), "Asia/Tokyo")
    assert by_us(times, Rules(daily=2), "UTC") != by_restic(forge, times, Rules(daily=2), "Asia/Tokyo")


def test_aes_agrees_with_its_standard() -> None:
    """FIPS 197, appendix C.1 and C.3."""
    plain = bytes.fromhex("00112233445566778899aabbccddeeff")
    assert Aes(bytes(range(16))).block(plain).hex() == "69c4e0d86a7b0430d8cdb78070b4c55a"
    assert Aes(bytes(range(32))).block(plain).hex() == "8ea2b7ca516745bfeafc49904b496089"
