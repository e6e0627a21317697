"""Every alarm has a section in the runbook, and what is kept is kept as the runbook says."""

import re
from typing import Any

import pytest

from local.cloud import ROOT

Resources = dict[str, dict[str, Any]]
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
#: Section -> its text.
SECTIONS = {
    heading.strip(): text
    for heading, _, text in (
        part.partition("\n") for part in re.split(r"^#+ ", RUNBOOK, flags=re.M)
    )
}


def anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")


def alarms(resources: Resources) -> dict[str, dict[str, Any]]:
    """By the end of their names, which follows the stack's."""
    found = {}
    for resource in resources.values():
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            name = resource["Properties"]["AlarmName"]["Fn::Sub"]
            found[name.removeprefix("${AWS::StackName}-")] = resource["Properties"]
    return found


def test_every_alarm_has_a_section_that_says_what_to_do(resources: Resources) -> None:
    for name in alarms(resources):
        assert name in SECTIONS, f"docs/runbook.md has no section {name}"
        assert SECTIONS[name].lstrip().startswith("**Means.**"), name
        assert len(SECTIONS[name]) > 400, name


def test_every_alarm_names_its_section(resources: Resources) -> None:
    for name, alarm in alarms(resources).items():
        assert alarm["AlarmDescription"].endswith(f"Runbook: docs/runbook.md#{name}"), name
        assert len(alarm["AlarmDescription"]) <= 1024, name  # CloudWatch's limit


def test_no_section_is_of_an_alarm_that_is_gone(resources: Resources) -> None:
    told = {name for name, text in SECTIONS.items() if text.lstrip().startswith("**Means.**")}
    assert told == set(alarms(resources))


def test_links_within_the_runbook_lead_somewhere() -> None:
    anchors = {anchor(heading) for heading in SECTIONS}
    assert set(re.findall(r"\]\(#([^)]+)\)", RUNBOOK)) <= anchors


def kept(resources: Resources, kind: str) -> dict[str, str]:
    """Resource of a kind -> its rows of what is kept."""
    named: dict[str, str] = {}
    for row in SECTIONS["What is kept, for how long, and how it comes back"].splitlines():
        if match := re.match(r"\| `(\w+)`", row):
            named[match[1]] = named.get(match[1], "") + row
    ours = {name for name, resource in resources.items() if resource["Type"] == kind}
    assert ours <= set(named), ours - set(named)
    return {name: named[name] for name in ours}


def test_tables_are_backed_up_and_protected_as_is_told(resources: Resources) -> None:
    in_prod = {"Fn::If": ["IsProd", True, False]}
    for name, row in kept(resources, "AWS::DynamoDB::Table").items():
        table = resources[name]["Properties"]
        backup = table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]
        assert (backup is not False) == ("point in time" in row), name
        assert (table.get("DeletionProtectionEnabled") == in_prod) == ("protected" in row), name
        assert (resources[name]["DeletionPolicy"] == "Retain") == ("outlives" in row), name
        assert resources[name]["DeletionPolicy"] == resources[name]["UpdateReplacePolicy"], name


def test_what_passes_away_does_so_by_itself(resources: Resources) -> None:
    for name, row in kept(resources, "AWS::DynamoDB::Table").items():
        lives = resources[name]["Properties"].get("TimeToLiveSpecification")
        assert (lives == {"AttributeName": "expires_at", "Enabled": True}) == ("TTL" in row), name


@pytest.mark.parametrize(
    ("prefix", "days"), [("athena-results/", 7), (None, None)], ids=["results", "the rest"]
)
def test_the_lake_forgets_query_results_alone(
    resources: Resources, prefix: str | None, days: int | None
) -> None:
    rules = resources["LedgerBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    found = {r.get("Prefix"): r.get("ExpirationInDays") for r in rules if r.get("Prefix") == prefix}
    assert found == {prefix: days}


def test_a_deletion_in_the_lake_can_be_undone_in_prod(resources: Resources) -> None:
    bucket = resources["LedgerBucket"]["Properties"]
    prod = bucket["VersioningConfiguration"]["Fn::If"]
    assert prod == ["IsProd", {"Status": "Enabled"}, {"Ref": "AWS::NoValue"}]
    rules = bucket["LifecycleConfiguration"]["Rules"]
    noncurrent = [r.get("NoncurrentVersionExpiration") for r in rules]
    assert {"NoncurrentDays": 30} in noncurrent


def test_what_buckets_hold_is_told(resources: Resources) -> None:
    for name, row in kept(resources, "AWS::S3::Bucket").items():
        assert (resources[name]["DeletionPolicy"] == "Retain") == ("outlives" in row), name
