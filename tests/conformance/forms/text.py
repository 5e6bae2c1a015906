import json

import numpy as np


def text_options(directory):
    """Sentences about something good or bad, as JSON lines."""
    random = np.random.default_rng(0)
    with open(directory / "reviews.jsonl", "w", encoding="utf-8") as file:
        for number in range(150):
            label = ("bad", "good")[number % 2]
            told_by = random.choice(["awful", "poor"] if label == "bad" else ["great", "fine"])
            others = random.choice(["The", "book,", "film", "was", "ça", "so"], random.integers(1, 9))
            text = " ".join(random.permutation([told_by, *others]))
            file.write(json.dumps({"review": f"{text}!", "label": label}) + "\n")
    return {"path": str(directory / "reviews.jsonl"), "text": "review", "max_tokens": 6}
