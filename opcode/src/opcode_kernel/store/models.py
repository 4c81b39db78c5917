"""The tables, as Tortoise models: the schema in one place, and what the list queries are written with.

A test compares them with what the migrations build. Times are integer microseconds (UTC) in every column, and JSON is
text of the codec. Appending and replaying never make an object of these.
"""

from __future__ import annotations

from tortoise import fields
from tortoise.indexes import Index
from tortoise.models import Model


class Run(Model):
    """A `RunRow`."""

    id = fields.CharField(255, primary_key=True)
    template_name = fields.TextField()
    template_version = fields.BigIntField()
    name = fields.TextField(null=True)
    status = fields.TextField()
    agent_id = fields.TextField()
    parent_run_id = fields.TextField(null=True)
    parent_step_id = fields.TextField(null=True)
    start_key = fields.TextField(null=True)
    input_params = fields.TextField()
    output = fields.TextField(null=True)
    error = fields.TextField(null=True)
    created_at = fields.BigIntField()
    started_at = fields.BigIntField(null=True)
    completed_at = fields.BigIntField(null=True)
    updated_at = fields.BigIntField()

    class Meta:
        """A null start key is no key: SQL holds nulls apart in a unique index."""

        table = "runs"
        unique_together = (("agent_id", "start_key"),)
        indexes = (
            Index(fields=("created_at",), name="runs_created"),
            Index(fields=("status", "created_at"), name="runs_status"),
            Index(fields=("agent_id", "created_at"), name="runs_agent"),
            Index(fields=("template_name", "created_at"), name="runs_template"),
            Index(fields=("parent_run_id",), name="runs_parent"),
        )


class Event(Model):
    """A `StoredEvent`. The one writer hands out ids, so they grow in commit order and are never used twice."""

    id = fields.BigIntField(primary_key=True)
    run_id = fields.TextField()
    sequence = fields.BigIntField()
    type = fields.TextField()
    step_id = fields.TextField(null=True)
    payload = fields.TextField(null=True)
    at = fields.BigIntField()
    agent_id = fields.TextField(null=True)
    private = fields.TextField(null=True)

    class Meta:
        """The unique index is also the one that replay reads along."""

        table = "events"
        unique_together = (("run_id", "sequence"),)
        indexes = (Index(fields=("type",), name="events_type"),)


class Step(Model):
    """A `StepRow`; `id` keeps the order in which steps were first written."""

    id = fields.BigIntField(primary_key=True)
    run_id = fields.TextField()
    step_id = fields.TextField()
    status = fields.TextField()
    input = fields.TextField(null=True)
    output = fields.TextField(null=True)
    error = fields.TextField(null=True)
    retry_count = fields.BigIntField()
    started_at = fields.BigIntField(null=True)
    completed_at = fields.BigIntField(null=True)
    duration_ms = fields.BigIntField(null=True)
    waiting = fields.TextField(null=True)

    class Meta:
        """One row per step of a run."""

        table = "steps"
        unique_together = (("run_id", "step_id"),)


class Decision(Model):
    """A `DecisionRow`."""

    id = fields.CharField(255, primary_key=True)
    run_id = fields.TextField()
    step_id = fields.TextField()
    agent_id = fields.TextField()
    target_agent_id = fields.TextField(null=True)
    context = fields.TextField()
    options = fields.TextField()
    timeout_at = fields.BigIntField(null=True)
    fallback = fields.TextField(null=True)
    resolution = fields.TextField(null=True)
    resolved_by = fields.TextField(null=True)
    resolved_at = fields.BigIntField(null=True)
    status = fields.TextField()
    created_at = fields.BigIntField()

    class Meta:
        """Looked up by run, and by what waits for whom."""

        table = "decisions"
        indexes = (
            Index(fields=("run_id",), name="decisions_run"),
            Index(fields=("status", "target_agent_id"), name="decisions_pending"),
        )


class Template(Model):
    """A `TemplateRow`; only ever inserted."""

    id = fields.BigIntField(primary_key=True)
    name = fields.TextField()
    version = fields.BigIntField()
    description = fields.TextField(null=True)
    definition = fields.TextField()
    input_schema = fields.TextField(null=True)
    output_schema = fields.TextField(null=True)
    triggers = fields.TextField(null=True)
    agent_id = fields.TextField()
    created_at = fields.BigIntField()

    class Meta:
        """One row per version."""

        table = "templates"
        unique_together = (("name", "version"),)


class Agent(Model):
    """An `AgentRow`."""

    id = fields.CharField(255, primary_key=True)
    name = fields.TextField()
    type = fields.TextField()
    created_at = fields.BigIntField()
    last_seen_at = fields.BigIntField()

    class Meta:
        """Few rows, so no index."""

        table = "agents"


class MetaValue(Model):
    """One value of the store's own key-value table."""

    key = fields.CharField(255, primary_key=True)
    value = fields.TextField()

    class Meta:
        """Few rows, so no index."""

        table = "meta"


class Plugin(Model):
    """A `PluginRow`."""

    id = fields.CharField(255, primary_key=True)
    name = fields.TextField()
    type = fields.TextField()
    config = fields.TextField()
    status = fields.TextField(db_default="inactive")
    last_health_check = fields.BigIntField(null=True)
    error_message = fields.TextField(null=True)
    created_at = fields.BigIntField()

    class Meta:
        """Few rows, so no index."""

        table = "plugins"


class Secret(Model):
    """A `SecretRow`; the value is encrypted before it comes here. `templates` and `hosts` are JSON lists, or null."""

    name = fields.CharField(255, primary_key=True)
    value = fields.BinaryField()
    created_at = fields.BigIntField()
    updated_at = fields.BigIntField()
    key_id = fields.TextField(null=True)
    version = fields.BigIntField(db_default=1)
    templates = fields.TextField(null=True)
    hosts = fields.TextField(null=True)

    class Meta:
        """Few rows, so no index."""

        table = "secrets"


class SecretUse(Model):
    """A `SecretUse` of the store; `id` keeps their order."""

    id = fields.BigIntField(primary_key=True)
    at = fields.BigIntField()
    name = fields.TextField()
    action = fields.TextField()
    agent_id = fields.TextField()
    run_id = fields.TextField(null=True)
    template = fields.TextField(null=True)
    step_id = fields.TextField(null=True)

    class Meta:
        """Looked up by secret, forgotten by time; otherwise the newest are read along the primary key."""

        table = "secret_uses"
        indexes = (
            Index(fields=("name",), name="secret_uses_name"), Index(fields=("at",), name="secret_uses_at"),
        )  # fmt: skip
