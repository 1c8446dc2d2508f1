"""`availability` on a folder at rest, and beside the service that owns it."""

import pytest

from tests.e2e.sidecar import Sidecar

pytestmark = pytest.mark.e2e


def test_who_is_away_stays_away_over_a_restart_until_he_is_back(sidecar: Sidecar):
    # nothing runs: a service is started for the command, and gone after it
    away = sidecar.run("availability", "away", "--reason", "ill", "--json")
    assert away.code == 0, away.err
    [closer] = away.json()["closers"]
    assert (closer["name"], closer["state"], closer["available_from"]) == ("Kevin", "away", None)
    assert not sidecar.processes_left()

    sidecar.start()
    shown = sidecar.run("availability", "show")
    assert shown.code == 0, shown.err
    for word in ("Kevin", "away", "(ill)"):
        assert word in shown.out
    back = sidecar.run("availability", "back", "--json")
    [closer] = back.json()["closers"]
    assert (closer["state"], closer["available"], closer["overrides"]) == ("free", True, [])
    refused = sidecar.run("availability", "away", "--until", "yesterday")
    assert refused.code == 2
    assert "give date and time" in refused.err
