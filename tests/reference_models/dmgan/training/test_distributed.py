"""Two processes are one run: the same losses and gradients, one end, and no rank that waits for ever."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp

from reference_models.dmgan.config import LossConfig
from reference_models.dmgan.losses import damsm_loss
from reference_models.dmgan.training.checkpoint import checkpoints, load_checkpoint
from reference_models.dmgan.training.damsm import gathered_damsm
from reference_models.dmgan.training.distributed import World, leave, parallel
from reference_models.dmgan.training.log import read_log
from tests.reference_models.dmgan.training.conftest import TINY, command, run

BATCH, WIDTH, LENGTH = 6, 5, 7


def whole() -> dict[str, torch.Tensor]:
    made = torch.Generator().manual_seed(3)
    return {
        "images": torch.randn(BATCH, 3, 4, 4, generator=made, dtype=torch.float64),
        "words": torch.randn(BATCH, LENGTH, WIDTH, generator=made, dtype=torch.float64),
        "sentence": torch.randn(BATCH, WIDTH, generator=made, dtype=torch.float64),
        "mask": torch.arange(LENGTH) < torch.tensor([7, 4, 5, 3, 0, 3])[:, None],  # one without any word
        "class_ids": torch.tensor([0, 1, 0, 2, 1, 3]),
    }


class Encoder(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = torch.nn.Conv2d(3, WIDTH, 2, dtype=torch.float64)
        self.linear = torch.nn.Linear(
            WIDTH, WIDTH, dtype=torch.float64
        )  # of the words: pre-training changes both encoders

    def forward(self, data: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        regions = self.conv(data["images"])
        return regions, regions.mean((2, 3)), self.linear(data["words"]), self.linear(data["sentence"])


def on_a_rank(rank: int, folder: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.set_num_threads(1)
    save_loss_of_a_share(rank, folder)
    leave()  # when what holds the group is gone


def save_loss_of_a_share(rank: int, folder: str) -> None:
    world, share = World(rank, 2), slice(rank * 3, rank * 3 + 3)
    data = {name: value[share] for name, value in whole().items()}
    longest = int(data["mask"].sum(1).max())  # each rank pads to its own longest caption
    data["words"], data["mask"] = data["words"][:, :longest], data["mask"][:, :longest]
    encoder = Encoder()
    shared = parallel(world, encoder, torch.device("cpu"))  # must outlive the backward pass
    loss = gathered_damsm(world, *shared(data), data["mask"], data["class_ids"], config=LossConfig()).total
    loss.backward()
    torch.save([loss.detach(), *(p.grad for p in encoder.parameters())], f"{folder}/{rank}.pt")


def test_damsm_of_two_halves_is_damsm_of_the_whole(tmp_path: Path) -> None:
    data, encoder = whole(), Encoder()
    loss = damsm_loss(*encoder(data), data["mask"], data["class_ids"], config=LossConfig()).total
    loss.backward()
    mp.spawn(on_a_rank, (str(tmp_path),), nprocs=2)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        for mine, right in zip(found, [loss.detach(), *(p.grad for p in encoder.parameters())]):
            torch.testing.assert_close(mine, right, rtol=1e-9, atol=1e-10)


def test_two_processes_train_stop_and_go_on(encoders_folder: Path, tmp_path: Path) -> None:
    options = ["train", *TINY, "--encoders", encoders_folder, "--train.checkpoint-every", "2"]
    done = run(*options, "--out", tmp_path / "whole", "--train.images", "24", processes=2)
    assert done.returncode == 0, done.stderr
    assert [line["step"] for line in read_log(tmp_path / "whole" / "log.jsonl")] == [1, 2, 3, 4, 5, 6]
    first = run(*options, "--out", tmp_path / "halves", "--train.images", "16", processes=2)
    assert first.returncode == 0, first.stderr
    second = run(*options, "--out", tmp_path / "halves", "--train.images", "24", "--resume", processes=2)
    assert second.returncode == 0, second.stderr
    ends = [load_checkpoint(checkpoints(tmp_path / name / "checkpoints")[-1]) for name in ("whole", "halves")]
    assert [end["step"] for end in ends] == [6, 6]
    assert len(ends[0]["random"]) == 2
    assert not torch.equal(ends[0]["random"][0]["torch"], ends[0]["random"][1]["torch"]), "noise of its own"
    for name, value in ends[0]["generator"].items():
        assert torch.equal(value, ends[1]["generator"][name]), name
    alone = run(*options, "--out", tmp_path / "whole", "--train.images", "32", "--resume")
    assert alone.returncode == 2
    assert "was made by 2 processes and this run has 1" in alone.stderr


# Prints how many threads of gloo there are before and after the group is left.
LEAVING = """
import sys
from pathlib import Path
from reference_models.dmgan.__main__ import main
from reference_models.dmgan.training import distributed

def threads():
    return sum("gloo_runloop" in path.read_text() for path in Path("/proc/self/task").glob("*/comm"))

def told(leave=distributed.leave):
    before = threads()
    leave()
    sys.stdout.write(f"threads {before} {threads()}\\n")  # in one piece: both ranks write to the same pipe

distributed.leave = told
raise SystemExit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("name", ["train", "pretrain"])
def test_no_thread_outlives_the_group(name: str, encoders_folder: Path, tmp_path: Path) -> None:
    """One that drops a tensor while Python ends aborts the process, whose work was done: so ended a run in fifteen."""
    (tmp_path / "leaving.py").write_text(LEAVING)
    options = ["--train.images", "8", "--pretrain.images", "8", "--out", tmp_path / "run"]
    options += ["--encoders", encoders_folder] if name == "train" else []
    done = run(name, *TINY, *options, processes=2, program=(str(tmp_path / "leaving.py"),))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("threads 2 0") == 2


def test_a_share_that_is_no_whole_group_is_refused_before_training(
    encoders_folder: Path, tmp_path: Path
) -> None:
    options = ["--encoders", encoders_folder, "--out", tmp_path / "run", "--discriminator.minibatch-std", "2"]
    done = run("train", *TINY, *options, "--train.batch-size", "8", processes=2)
    assert done.returncode != 0
    assert "`train.batch_size` must give each of 2 processes a multiple of 8 images" in done.stderr
    assert "got 8" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("--train.ema-decay", "0.5"), "rank 1 has another configuration than rank 0"),
        (("--encoders", "nowhere"), "the run cannot begin: rank 1: FileNotFoundError"),
    ],
)
def test_a_rank_that_differs_stops_all(
    encoders_folder: Path, tmp_path: Path, change: tuple, told: str
) -> None:
    options = [
        "train",
        *TINY,
        "--encoders",
        encoders_folder,
        "--out",
        tmp_path / "run",
        "--train.images",
        "8",
    ]
    ranks = []
    for rank in range(2):
        extra = change if rank else ()
        environment = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(29_611 + len(told)),
            "RANK": str(rank),
            "WORLD_SIZE": "2",
        }
        ranks.append(start(*options, *extra, **environment))
    results = [process.communicate(timeout=90) for process in ranks]
    assert [process.returncode for process in ranks] == [2, 2], results
    assert told in results[0][1], "rank 0 says it"
    assert not (tmp_path / "run" / "checkpoints").exists()


def start(*arguments: object, **environment: str) -> subprocess.Popen:
    import os

    from tests.reference_models.dmgan.training.conftest import ROOT

    return subprocess.Popen(
        command(*arguments),
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_killed_rank_ends_the_run_and_leaves_a_whole_checkpoint(
    encoders_folder: Path, tmp_path: Path
) -> None:
    import os
    import signal
    import time

    out = tmp_path / "run"
    options = ["train", *TINY, "--encoders", encoders_folder, "--out", out, "--train.images", "4000000"]
    process = subprocess.Popen(
        command(*options, "--train.checkpoint-every", "5", processes=2),
        cwd=Path(__file__).parents[4],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 90
    while not checkpoints(out / "checkpoints") and time.monotonic() < deadline:
        time.sleep(0.1)
    workers = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    os.kill(int(workers[-1]), signal.SIGKILL)
    assert process.wait(timeout=90) != 0
    assert load_checkpoint(checkpoints(out / "checkpoints")[-1])["step"] % 5 == 0
    lines = (out / "log.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["step"] == 1
