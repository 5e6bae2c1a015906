import csv
import datetime

import numpy as np


def table_options(directory):
    """Members of a club, who stay or leave: numbers, categories, booleans and dates, some of which are missing."""
    random = np.random.default_rng(0)
    with open(directory / "members.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["Age (years)", "city", "is member", "joined", "zip", "outcome"])
        for number in range(150):
            age = random.normal(40.0, 10.0)
            city = random.choice(["Bonn", "Oslo", "Rome"])
            joined = datetime.date(2020, 1, 1) + datetime.timedelta(days=int(random.integers(0, 900)))
            leaves = age + 10.0 * (city == "Rome") + random.normal() > 45.0
            writer.writerow(
                [
                    f"{age:.1f}" if number % 10 else "NA",
                    city if number % 15 else "",
                    str(bool(number % 3)).lower(),
                    joined.isoformat() if number % 7 else "",
                    random.choice(["00501", "10115"]),
                    "leaves" if leaves else "stays",
                ]
            )
    return {"path": str(directory / "members.csv"), "label": "outcome", "types": {"zip": "categorical"}}
