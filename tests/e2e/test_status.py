"""What status, list, show and restore tell when the history is not what it was: failures, a new name, a lost state."""

from __future__ import annotations

import shutil

from tests.e2e.site import Site


def headline(site: Site, code: int) -> str:
    return site.run("status", code=code).stdout.split("\n")[0]


def test_a_failed_backup_is_seen_and_a_later_good_one_makes_it_well(site: Site) -> None:
    site.run("backup")
    assert headline(site, 0) == "everything is backed up; not everything is proven"
    database = (site.root / "data" / "shop.db").read_bytes()
    (site.root / "data" / "shop.db").write_bytes(b"broken" * 1000)
    site.run("backup", code=3)
    assert headline(site, 1) == "1 of 1 service needs action: shop (partial)"
    assert "is partial: main failed" in site.run("status", code=1).stdout
    assert "main (failed), files" in site.run("list").stdout
    (site.root / "data" / "files").rename(site.root / "data" / "away")
    site.run("backup", code=None)
    assert headline(site, 1) == "1 of 1 service needs action: shop (failed)"
    (site.root / "data" / "away").rename(site.root / "data" / "files")
    (site.root / "data" / "shop.db").write_bytes(database)
    site.run("backup")
    assert headline(site, 0) == "everything is backed up; not everything is proven"


def test_under_another_name_nothing_is_backed_up_yet(site: Site) -> None:
    site.run("backup")
    policy = site.root / "policy.yml"
    policy.write_text(policy.read_text().replace("host: test-host", "host: other-host"))
    told = site.run("status", code=1).stdout
    assert told.startswith("1 of 1 service needs action: shop (none)\n")
    assert "1 of test-host; this policy's host is other-host" in told
    assert "committed, of host test-host" in site.run("list").stdout
    to = str(site.root / "back")
    assert "but of test-host" in site.run("restore", "shop", "--latest", "--to", to, code=1).stderr
    old = site.points()[0]["id"]
    site.run("backup")
    site.run("prune")
    assert [(point["host"], point["damaged"]) for point in site.points()] == [
        ("other-host", False),
        ("test-host", False),
    ]
    site.run("restore", "shop", "--point", old, "--to", to)


def test_a_lost_state_names_its_remedy(site: Site) -> None:
    site.run("backup")
    point = site.points()[0]["id"]
    shutil.rmtree(site.state)
    to = str(site.root / "back")
    for words, code in ((("status",), 1), (("list",), 0), (("show", point), 1)):
        done = site.run(*words, code=code)
        assert "resguardo catalog rebuild" in done.stdout + done.stderr, words
    assert "1 restore point of host test-host, new" in site.run("catalog", "rebuild").stdout
    assert "1 restore point of host test-host, not new" in site.run("catalog", "rebuild").stdout
    assert headline(site, 0) == "everything is backed up; not everything is proven"
    done = site.run("list", "shpo", code=2)
    assert (done.stdout, "did you mean 'shop'?" in done.stderr) == ("", True)
    site.services("services: {news: {paths: [data/files]}}\n")
    assert "committed, retired" in site.run("list", "shop").stdout
    shutil.rmtree(site.state)  # a restore looks for itself
    done = site.run("restore", "shop", "--latest", "--source", "files", "--to", to)
    assert "local holds 1 restore point that this machine did not know" in done.stdout
