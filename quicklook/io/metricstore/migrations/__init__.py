"""Steps that bring the tables of a store up to date, run by alembic when a store is opened. A step that was released is never changed."""
