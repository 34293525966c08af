"""What the corrections' statistics and data sets need."""

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    pass
