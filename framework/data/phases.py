"""The phases of a model's life that read a split of the data. Serving, the fourth, reads requests."""

TRAIN = "train"
VALIDATION = "validation"
TEST = "test"
PHASES = (TRAIN, VALIDATION, TEST)
# What people and libraries call the splits, the most usual name first.
SPLIT_NAMES = {
    TRAIN: ("train", "training"),
    VALIDATION: ("validation", "valid", "val", "dev"),
    TEST: ("test", "testing"),
}


def check_phase(phase: str) -> str:
    """Returns `phase`.

    Raises:
        ValueError: There is no such phase.
    """
    if phase not in PHASES:
        raise ValueError(f"There is no phase {phase!r}; a split is one of {', '.join(map(repr, PHASES))}.")
    return phase
