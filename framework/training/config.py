"""How to train, in a few small frozen dataclasses. Each turns into Keras' own objects and nothing else."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import keras

from framework.export.options import Exports as Exports
from framework.registry import did_you_mean

_OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "sgd": keras.optimizers.SGD,
    "rmsprop": keras.optimizers.RMSprop,
    "adagrad": keras.optimizers.Adagrad,
    "adafactor": keras.optimizers.Adafactor,
    "lion": keras.optimizers.Lion,
    "lamb": keras.optimizers.Lamb,
    "nadam": keras.optimizers.Nadam,
    "ftrl": keras.optimizers.Ftrl,
}
_MAX_STEPS_PER_EXECUTION = 32
_POLICIES = ("float32", "mixed_float16", "mixed_bfloat16")
# What an optimizer given as an object brings itself.
_OF_THE_OPTIMIZER = (
    "learning_rate",
    "schedule",
    "weight_decay",
    "clip_norm",
    "clip_value",
    "momentum",
    "accumulation_steps",
    "ema",
)


def _check_share(name: str, value: float, *, closed: bool = False) -> None:
    if not (0 <= value < 1 or (closed and value == 1)):
        raise ValueError(f"{name} is a share in [0, 1{']' if closed else ')'}, got {value}.")


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The learning rate over a run, as a share of `Optimization.learning_rate`.

    Attributes:
        kind: `"constant"`, or `"cosine"` (Loshchilov and Hutter 2017, "SGDR", equation 5, without restarts).
        warmup: Share of all steps in which the rate rises linearly from 0 (Goyal et al. 2017, section 2.2).
        final: What a cosine ends at.
    """

    kind: Literal["constant", "cosine"] = "cosine"
    warmup: float = 0.05
    final: float = 0.0

    def __post_init__(self):
        if self.kind not in ("constant", "cosine"):
            raise ValueError(f"Schedule kind must be 'constant' or 'cosine', got {self.kind!r}.")
        _check_share("warmup", self.warmup)
        _check_share("final", self.final, closed=True)

    def build(self, learning_rate: float, total_steps: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
        """The rate or schedule for an optimizer that takes `total_steps`."""
        warmup_steps = round(self.warmup * total_steps)
        if self.kind == "constant" and not warmup_steps:
            return learning_rate
        if self.kind == "constant":
            return keras.optimizers.schedules.PolynomialDecay(0.0, warmup_steps, learning_rate)
        if not warmup_steps:
            return keras.optimizers.schedules.CosineDecay(learning_rate, total_steps, alpha=self.final)
        return keras.optimizers.schedules.CosineDecay(
            0.0, max(total_steps - warmup_steps, 1), self.final, warmup_target=learning_rate, warmup_steps=warmup_steps
        )


@dataclasses.dataclass(frozen=True)
class Optimization:
    """How weights are updated.

    Attributes:
        optimizer: A name such as `"adamw"` or `"sgd"`, or a Keras optimizer, which then brings its own learning rate,
            decay and clipping.
        learning_rate: The peak of the schedule, or a Keras schedule.
        schedule: Its course over the run.
        weight_decay: Decoupled (Loshchilov and Hutter 2019), a share of the weight a step, times the learning rate.
        clip_norm: Largest norm of all gradients together (Pascanu et al. 2013).
        clip_value: Largest absolute value of each gradient's element.
        momentum: Of SGD and RMSprop.
        accumulation_steps: Batches whose gradients are averaged into one update.
        ema: Momentum of an exponential moving average of the weights, such as 0.999; it is what is evaluated and
            exported.
        precision: A Keras dtype policy: `"float32"`, `"mixed_float16"` (with loss scaling) or `"mixed_bfloat16"`.
        class_weight: `{class id: weight}` of the training loss, or `"balanced"`: inversely proportional to frequency.
        jit_compile: Whether XLA compiles the step. On CPUs it mostly slows it down.
        steps_per_execution: Steps that one call from Python runs, a divisor of the steps of an epoch. Small models
            are bound by the cost of calls. `"auto"` takes the largest divisor up to 32, or 1 where a callback wants to
            see every batch.
    """

    optimizer: str | keras.optimizers.Optimizer = "adamw"
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 1e-3
    schedule: Schedule = Schedule()
    weight_decay: float | None = None
    clip_norm: float | None = None
    clip_value: float | None = None
    momentum: float | None = None
    accumulation_steps: int = 1
    ema: float | None = None
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    class_weight: Mapping[int, float] | Literal["balanced"] | None = None
    jit_compile: bool = False
    steps_per_execution: int | Literal["auto"] = "auto"

    def __post_init__(self):
        if isinstance(self.optimizer, str):
            if self.optimizer.lower() not in _OPTIMIZERS:
                raise ValueError(
                    f"Unknown optimizer {self.optimizer!r}.{did_you_mean(self.optimizer, _OPTIMIZERS)} "
                    f"Known: {', '.join(_OPTIMIZERS)}; any other can be given as a keras.optimizers object."
                )
        elif not isinstance(self.optimizer, keras.optimizers.Optimizer):
            raise TypeError(f"optimizer must be a name or a keras.optimizers.Optimizer, got {self.optimizer!r}.")
        else:
            changed = [
                f.name
                for f in dataclasses.fields(self)
                if f.name in _OF_THE_OPTIMIZER and getattr(self, f.name) != f.default
            ]
            if changed:
                raise ValueError(f"The optimizer was given as an object: set {', '.join(changed)} on it instead.")
        if isinstance(self.learning_rate, (int, float)) and not (
            math.isfinite(self.learning_rate) and self.learning_rate > 0
        ):
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}.")
        if self.steps_per_execution != "auto" and not (
            isinstance(self.steps_per_execution, int) and self.steps_per_execution >= 1
        ):
            raise ValueError(f"steps_per_execution must be 'auto' or at least 1, got {self.steps_per_execution!r}.")
        if self.accumulation_steps < 1:
            raise ValueError(f"accumulation_steps must be at least 1, got {self.accumulation_steps}.")
        if self.precision not in _POLICIES:
            raise ValueError(f"precision must be one of {', '.join(_POLICIES)}, got {self.precision!r}.")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(f"ema is a momentum in (0, 1), got {self.ema}.")
        for name in ("weight_decay", "clip_norm", "clip_value"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{name} must not be negative, got {value}.")
        if isinstance(self.class_weight, str) and self.class_weight != "balanced":
            raise ValueError(
                f"class_weight must be a dict of class ids to weights or 'balanced', got {self.class_weight!r}."
            )

    def build(self, total_steps: int, *, factor: float = 1.0) -> keras.optimizers.Optimizer:
        """A new Keras optimizer for a run of `total_steps` batches, its learning rate multiplied by `factor`."""
        if not isinstance(self.optimizer, str):
            # A copy: a run must not begin with the momentum of an earlier one.
            config = self.optimizer.get_config()
            if factor != 1.0:
                rate = config["learning_rate"]
                rate = keras.optimizers.schedules.deserialize(rate) if isinstance(rate, dict) else rate
                config["learning_rate"] = _scaled(rate, factor)
            return type(self.optimizer).from_config(config)
        rate = self.learning_rate
        if not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            rate = self.schedule.build(rate, total_steps)  # Keras reads it by batches, accumulated or not
        arguments: dict[str, Any] = {"learning_rate": _scaled(rate, factor)}
        if self.weight_decay is not None:
            arguments["weight_decay"] = self.weight_decay
        if self.momentum is not None:
            arguments["momentum"] = self.momentum
        if self.clip_norm is not None:
            arguments["global_clipnorm"] = self.clip_norm
        if self.clip_value is not None:
            arguments["clipvalue"] = self.clip_value
        if self.accumulation_steps > 1:
            arguments["gradient_accumulation_steps"] = self.accumulation_steps
        if self.ema is not None:
            arguments |= {"use_ema": True, "ema_momentum": self.ema}
        try:
            return _OPTIMIZERS[self.optimizer.lower()](**arguments)
        except (TypeError, ValueError) as error:
            raise ValueError(f"The optimizer {self.optimizer!r} doesn't take these settings: {error}") from error

    def choose_steps_per_execution(self, steps: int, callbacks: Iterable[keras.callbacks.Callback]) -> int:
        """How many of an epoch's `steps` one call runs.

        Raises:
            ValueError: The number given doesn't divide them: Keras would run over the epoch's end.
        """
        if self.steps_per_execution == "auto":
            watched = any(_watches_batches(callback) for callback in callbacks)
            return (
                1 if watched else max(d for d in range(1, min(steps, _MAX_STEPS_PER_EXECUTION) + 1) if steps % d == 0)
            )
        if steps % self.steps_per_execution:
            divisors = [divisor for divisor in range(1, steps + 1) if steps % divisor == 0]
            raise ValueError(
                f"steps_per_execution={self.steps_per_execution} doesn't divide the {steps} steps of an epoch. "
                f"Divisors: {', '.join(map(str, divisors))}; or use 'auto'."
            )
        return self.steps_per_execution

    @property
    def uses_ema(self) -> bool:
        """Whether the weights have a moving average."""
        return self.ema is not None or bool(getattr(self.optimizer, "use_ema", False))


@keras.saving.register_keras_serializable("shipyard")
class ScaledSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Another schedule times a factor."""

    def __init__(self, schedule: keras.optimizers.schedules.LearningRateSchedule, factor: float):
        self.schedule = schedule
        self.factor = factor

    def __call__(self, step):
        return self.schedule(step) * self.factor

    def get_config(self):
        return {"schedule": keras.optimizers.schedules.serialize(self.schedule), "factor": self.factor}

    @classmethod
    def from_config(cls, config):
        return cls(keras.optimizers.schedules.deserialize(config["schedule"]), config["factor"])


def _scaled(rate: Any, factor: float) -> Any:
    if factor == 1.0:
        return rate
    if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        return ScaledSchedule(rate, factor)
    return rate * factor


def _watches_batches(callback: keras.callbacks.Callback) -> bool:
    hooks = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")
    return any(getattr(type(callback), hook) is not getattr(keras.callbacks.Callback, hook) for hook in hooks)


@dataclasses.dataclass(frozen=True)
class Stopping:
    """When to stop before the last epoch.

    Attributes:
        patience: Epochs without improvement of the objective.
        min_delta: Smallest change that counts as an improvement.
        start_from_epoch: Epochs at the beginning in which nothing is counted.
    """

    patience: int = 10
    min_delta: float = 0.0
    start_from_epoch: int = 0

    def __post_init__(self):
        if self.patience < 1:
            raise ValueError(
                f"patience must be at least 1 epoch, got {self.patience}. stopping=None never stops early."
            )
        if self.min_delta < 0 or self.start_from_epoch < 0:
            raise ValueError(f"min_delta and start_from_epoch must not be negative, got {self}.")


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """When the state of training is saved, to go on with. The end of training always is.

    How often changes nothing but how much is lost when the process dies.

    Attributes:
        every_epochs: Epochs between checkpoints.
        every_steps: Steps between checkpoints within an epoch.
        every_secs: Seconds between checkpoints within an epoch; five minutes by default.
        keep: How many of the newest stay.
        on_error: What a full or failing disk does to training: `"warn"` goes on, `"raise"` stops.
    """

    every_epochs: int = 1
    every_steps: int | None = None
    every_secs: float | None = 300.0
    keep: int = 2
    on_error: Literal["warn", "raise"] = "warn"

    def __post_init__(self):
        for name in ("every_epochs", "every_steps", "every_secs", "keep"):
            value = getattr(self, name)
            if value is not None and not (value > 0 if name == "every_secs" else value >= 1):
                raise ValueError(f"Checkpoints.{name} must be positive, got {value}.")
        if self.on_error not in ("warn", "raise"):
            raise ValueError(f"Checkpoints.on_error must be 'warn' or 'raise', got {self.on_error!r}.")


@dataclasses.dataclass(frozen=True)
class Divergence:
    """What to do when the loss becomes NaN or infinite.

    Attributes:
        max_rollbacks: How often training goes back to the last checkpoint and on with a smaller learning rate.
            With 0 it stops. Each rollback is recorded in the history.
        factor: What each rollback multiplies the learning rate by.
    """

    max_rollbacks: int = 0
    factor: float = 0.5

    def __post_init__(self):
        if self.max_rollbacks < 0:
            raise ValueError(f"max_rollbacks must not be negative, got {self.max_rollbacks}.")
        if not 0 < self.factor < 1:
            raise ValueError(f"factor must be in (0, 1), got {self.factor}.")


def plain(value: Any) -> Any:
    """A configuration as JSON holds it: dataclasses as dicts, Keras objects by their configuration."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if hasattr(value, "get_config"):
        # Not the name: Keras numbers the objects of some classes through the process.
        config = {name: item for name, item in value.get_config().items() if name != "name"}
        return {"class": type(value).__name__, "config": plain(config)}
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()
    return getattr(value, "__name__", None) or f"<{type(value).__module__}.{type(value).__qualname__}>"
