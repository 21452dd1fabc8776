"""The tables of alarms, in a database of their own beside the journal: incidents, mutes, audit trail, messages.

Records are kept whole, as JSON, beside the columns by which they are looked for.
"""

from __future__ import annotations

import sqlalchemy as sa

METADATA = sa.MetaData()
META = sa.Table("meta", METADATA, sa.Column("key", sa.String, primary_key=True), sa.Column("value", sa.String, nullable=False))
INCIDENTS = sa.Table("incidents", METADATA, sa.Column("key", sa.String, primary_key=True), sa.Column("record", sa.Text, nullable=False))
MUTES = sa.Table("mutes", METADATA, sa.Column("id", sa.String, primary_key=True), sa.Column("record", sa.Text, nullable=False))
AUDIT = sa.Table(
    "audit",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("time", sa.BigInteger, nullable=False, index=True),
    sa.Column("fingerprint", sa.String, nullable=False, index=True),
    sa.Column("record", sa.Text, nullable=False),
)
NOTICES = sa.Table(
    "notices",
    METADATA,
    sa.Column("n", sa.Integer, primary_key=True),
    sa.Column("id", sa.String, nullable=False),
    sa.Column("channel", sa.String, nullable=False),
    sa.Column("group", sa.String, nullable=False),
    sa.Column("made", sa.BigInteger, nullable=False),
    sa.Column("record", sa.Text, nullable=False),
    sa.Column("message", sa.String, index=True),
    sa.UniqueConstraint("id", "channel"),
)
"""Who is to be told of what; `message` is the one that tells it, null until one is written."""
MESSAGES = sa.Table(
    "messages",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("channel", sa.String, nullable=False),
    sa.Column("made", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String, nullable=False, index=True),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("next", sa.BigInteger, nullable=False, default=0),
    sa.Column("sent", sa.BigInteger),
    sa.Column("error", sa.Text, nullable=False, default=""),
    sa.Column("record", sa.Text, nullable=False),
)
"""The outbox: `state` is waiting, refused (and tried again), sent or given_up."""
sa.Index("ix_messages_channel_made", MESSAGES.c.channel, MESSAGES.c.made)
ANSWERS = sa.Table(
    "answers",
    METADATA,
    sa.Column("n", sa.Integer, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False, index=True),
    sa.Column("record", sa.Text, nullable=False),
)
"""Events that an event of the journal was answered with, until it is sure that the journal has them."""
