"""Processes that write to one folder and are killed at any moment: only whole items are found and left."""

import multiprocessing
import os
import random
import signal
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic

import torch

from gadgets.study import Item, ScanIdentity
from pipelines.studies.folder import StudyFolder

SCAN = ScanIdentity(study="study", measurement="writer")
READER = ScanIdentity(study="study", measurement="reader")
N_ROUNDS, N_WRITERS = 6, 3


def write_until_killed(folder: Path, seed: int, written: Connection) -> None:
    """Keep items that tell what they must hold, and report those that are said to be on the disk."""
    rng = random.Random(seed)
    with StudyFolder(folder) as studies:
        while True:
            numbers = [rng.getrandbits(48) for _ in range(rng.randrange(1, 4))]
            for number in numbers:
                tensors = {"x": torch.full((1 + number % 50_000,), number, dtype=torch.int64)}
                item = Item(
                    kind="guide", scan=SCAN, name=str(number), tensors=tensors, about={"number": number}
                )
                studies.keep(item)
            studies.flush()
            written.send(numbers)


def assert_whole(studies: StudyFolder, *names: int) -> None:
    """All that is found, or what is found by each name, holds what it must."""
    found = [kept for name in names for kept in studies.find("guide", READER, str(name))]
    assert len(found) == len(names)
    for kept in found or studies.find("guide", READER):
        tensors, number = kept.load(), kept.about["number"]
        assert tensors is not None
        assert torch.equal(tensors["x"], torch.full((1 + number % 50_000,), number, dtype=torch.int64))


def test_processes_killed_at_any_moment_leave_whole_items_and_nothing_else(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([StudyFolder.__module__])
    rng = random.Random(0)
    promised: set[int] = set()
    with StudyFolder(tmp_path) as reader:
        for number in range(N_ROUNDS):
            pipes = [context.Pipe(duplex=False) for _ in range(N_WRITERS)]
            writers = [
                context.Process(target=write_until_killed, args=(tmp_path, N_WRITERS * number + i, sender))
                for i, (_, sender) in enumerate(pipes)
            ]
            for writer in writers:
                writer.start()
            pipes[0][0].poll(30)  # until one has written
            for writer in writers:
                until = monotonic() + rng.uniform(0, 0.05)
                while monotonic() < until:
                    assert_whole(reader)
                assert writer.pid is not None
                os.kill(writer.pid, signal.SIGKILL)
            for writer, (receiver, sender) in zip(writers, pipes, strict=True):
                writer.join()
                sender.close()
                while receiver.poll():
                    try:
                        promised.update(receiver.recv())
                    except EOFError:
                        break
                receiver.close()
    assert len(promised) > N_ROUNDS
    with StudyFolder(tmp_path) as studies:
        assert_whole(studies, *promised)
        assert_whole(studies)
        assert {path.name for path in (tmp_path / "blobs").iterdir()} == {row.blob for row in studies.rows()}
