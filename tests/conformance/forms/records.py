import framework
from framework.data import records


def records_options(directory):
    """The digits, as records that describe themselves."""
    records.write_pipeline(framework.get_pipeline("digits")(), directory / "digits", layout=records.Layout(shards=3))
    return {"path": str(directory / "digits")}
