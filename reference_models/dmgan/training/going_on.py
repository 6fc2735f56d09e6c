"""What may differ between a checkpoint and the run that goes on from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reference_models.dmgan.config import Config
from reference_models.dmgan.errors import CheckpointError
from reference_models.dmgan.training.distributed import World

Fields = dict[str, set[str]]  # by section of the configuration


@dataclass(frozen=True, kw_only=True)
class GoingOn:
    """How a command goes on from its checkpoints."""

    command: str
    network: str  # that its checkpoints alone hold
    free: Fields  # change no number of a step, or are not read
    changeable: Fields  # may be others where it is said that this is meant

    def check(
        self, path: Path, state: dict[str, Any], config: Config, world: World, *, changed: bool
    ) -> list[str]:
        """Refuse the checkpoint ``state`` of another command, configuration or number of processes.

        ``changed``: fields that are changeable are meant to be as they are.

        Returns:
            Each such change in words.
        """
        if self.network not in state:
            raise CheckpointError(
                f"{path} is no checkpoint of `{self.command}`: it holds no {self.network!r}"
            )
        changes = self._changes(path, Config.from_dict(state["config"]), config, changed=changed)
        if len(state["random"]) != world.size:  # the noise of each would not go on
            raise CheckpointError(
                f"{path} was made by {len(state['random'])} processes and this run has {world.size}: start as many as "
                "before"
            )
        return changes

    def _changes(self, path: Path, saved: Config, wanted: Config, *, changed: bool) -> list[str]:
        before, told = saved.to_dict(), []
        for section, values in wanted.to_dict().items():
            if not isinstance(values, dict):
                continue
            for name, value in values.items():
                was = before[section][name]
                if was == value or name in self.free.get(section, set()):
                    continue
                may = name in self.changeable.get(section, set())
                if not (may and changed):
                    way = "add --changed to go on all the same" if may else "choose another --out"
                    raise CheckpointError(
                        f"{path} was made with {section}.{name} = {was!r}, but this run asks for {value!r}; {way}, or "
                        "give the checkpoint's configuration"
                    )
                told.append(f"{section}.{name} is {value!r} from here on, it was {was!r}")
        return told
