"""All models of the two files under one name."""

from __future__ import annotations

from orchestrator.policy.policy_file import (
    Channel,
    Check,
    Health,
    Job,
    Logs,
    Notify,
    Policy,
    RepositoryPolicy,
    ResticPolicy,
    Rule,
    Staging,
    Tidy,
)
from orchestrator.policy.retention import Guard, KeepRules, RetentionPolicy
from orchestrator.policy.secret_ref import SecretRef
from orchestrator.policy.services_file import Database, Service, Services

__all__ = [
    "Channel",
    "Check",
    "Database",
    "Guard",
    "Health",
    "Job",
    "KeepRules",
    "Logs",
    "Notify",
    "Policy",
    "RepositoryPolicy",
    "ResticPolicy",
    "RetentionPolicy",
    "Rule",
    "SecretRef",
    "Service",
    "Services",
    "Staging",
    "Tidy",
]
