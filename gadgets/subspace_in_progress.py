"""A slice that is projected into the subspace of its navigators while it is acquired."""

from collections.abc import Iterator

import numpy as np
import torch

from gadgets.calibration import PerSlice
from gadgets.coil_maps import CoilMaps, with_coil_maps
from gadgets.encoding_spaces import EncodingSpaces
from gadgets.feature_records import FeatureSpace, Frames
from gadgets.feature_space import mean_density
from gadgets.gadget import Context
from gadgets.images_in_progress import NOT_FOR_IMAGES
from gadgets.navigators import Navigators
from gadgets.non_cartesian_in_progress import kspace_of
from gadgets.records import NonCartesianKSpace, Readouts
from recon_core.dynamic.low_rank_tensor import TensorBasis
from recon_core.dynamic.temporal_basis import TemporalBasis, at_times, temporal_basis
from recon_core.errors import InputError
from recon_core.feature_kernel import KernelSums, mixed_kernel
from recon_core.feature_sums import FeatureSums
from recon_core.rotated_readouts import rotated_readouts

CHUNK = 128
"""Imaging readouts added at once, and navigators compressed at once: the same ones however the stream is cut,
so that a replay gives the same bits."""
N_CALIBRATING = 4
"""Chunks that coil maps are calibrated from."""
LOST_NOTE = "{:.0f} % of the navigators' energy came up only after the first {}: not in the temporal basis"
MAX_LOST = 0.02
MAX_WITHOUT = 4096
"""Imaging readouts that a navigator is waited for."""


class SubspaceInProgress:
    """Adds readouts to sums over a provisional basis, and mixes these into those of the final one.

    The first navigators say which of their combinations, n_learned of them, hold what there is to see:
    c(t) = P n(t). Any basis of later navigators is a mixture Φ = M c, and sums over readouts are linear in
    Φ, so that they need not wait for M, which is the singular value decomposition of all c.
    """

    def __init__(self, where: str, n_learning: int, n_learned: int, context: Context) -> None:
        self._where, self._n_learning, self._n_learned = where, n_learning, n_learned
        self._context = context
        self._spaces = EncodingSpaces(context, where, is_cartesian=False)
        self._navigators = Navigators(where)
        self._waiting: list[Readouts] = []
        self._n_waiting = self._n_added = 0
        self._followed_until = -1
        self._compression: torch.Tensor | None = None
        self._compressed: list[torch.Tensor] = []
        self._calibrating: list[NonCartesianKSpace] = []
        self._coil_maps: torch.Tensor | None = None
        self._sums: tuple[FeatureSums, KernelSums, torch.Tensor] | None = None

    def add(self, block: Readouts) -> None:
        """Take a block: navigators and readouts of the image."""
        self._navigators.add(block)
        imaging = block.select(~block.flagged(*NOT_FOR_IMAGES))
        if len(imaging):
            self._spaces.check(0, imaging)
            if imaging.headers["idx"]["slice"].any() or not imaging.trajectory.shape[2]:
                raise InputError(
                    f"{self._where}: expected readouts of slice 0 with a trajectory, got slice "
                    f"{imaging.headers['idx']['slice'].max()} with {imaging.trajectory.shape[2]} dimensions; "
                    "send slices as scans of their own, and put Trajectory in front"
                )
            self._waiting.append(imaging)
            self._n_waiting += len(imaging)
            if self._n_waiting > MAX_WITHOUT and not len(self._navigators):
                self._navigators.headers()  # which says that there are none
        if self._compression is None and len(self._navigators) >= self._n_learning:
            self._learn()
        self._compress()
        while self._n_waiting > CHUNK and self._is_between_navigators():
            self._project(self._taken(CHUNK))

    def finish(self, rank: int | None, energy: float, n_frames: int) -> FeatureSpace:
        """The data in the final basis. Raises InputError for missing navigators or readouts."""
        if not self._n_waiting + self._n_added:
            raise InputError(
                f"{self._where}: expected imaging readouts, got none; check that the scan was sent whole"
            )
        if self._compression is None:
            self._learn()
        self._compress(is_last=True)
        while self._n_waiting:
            self._project(self._taken(min(CHUNK, self._n_waiting)))
        if self._coil_maps is None:
            self._calibrate()
        assert self._sums is not None
        assert self._coil_maps is not None
        courses = torch.cat(self._compressed, 1)
        basis = temporal_basis(courses, rank=rank, energy=energy, noise_std=self._navigators.noise_std)
        # Rows have mean square one, so that feature maps are as bright as images.
        scale = courses.shape[1] ** 0.5
        mixing = scale * (basis.rows @ courses.mT) / basis.singular_values[: basis.rank, None].square()
        rows = scale * basis.rows
        at = torch.linspace(0, courses.shape[1] - 1, min(n_frames, courses.shape[1])).round().long()
        device = self._context.device
        frames = Frames(
            basis=TensorBasis(torch.eye(len(rows), device=device), (rows[:, at].mT.to(device),)),
            counters=("repetition",),
        )
        sums, kernel, _ = self._sums
        mixing = mixing.to(device)
        first = self._calibrating[0]
        notes = (*first.notes, *self._missing(), *self._lost(courses))
        for note in notes[len(first.notes) :]:
            self._context.logger.warning(note)
        self._context.logger.info("temporal basis: rank %d, %.4f of the energy", basis.rank, basis.energy)
        return FeatureSpace(
            images=sums.mixed(mixing).images() / self._n_added,
            kernel=mixed_kernel(kernel.kernel(), mixing) / self._n_added,
            coil_maps=self._coil_maps,
            frames=frames,
            header=first.header,
            encoding=first.encoding,
            notes=notes,
        )

    def _learn(self) -> None:
        """P, from the first navigators: their left singular vectors above the noise."""
        courses = self._navigators.courses()[: self._n_learning].mT
        basis: TemporalBasis = temporal_basis(courses, energy=1.0, noise_std=self._navigators.noise_std)
        rows = basis.rows[: self._n_learned]
        self._compression = (courses @ rows.mT / basis.singular_values[: len(rows)]).mT.contiguous()

    def _compress(self, is_last: bool = False) -> None:
        if self._compression is None:
            return
        n_done = CHUNK * len(self._compressed)
        if len(self._navigators) - n_done < CHUNK and not is_last:
            return
        if n_done < len(self._navigators):
            for courses in torch.split(self._navigators.courses(n_done), CHUNK):
                if len(courses) == CHUNK or is_last:
                    self._compressed.append(self._compression @ courses.mT)
        last = CHUNK * len(self._compressed) - 1
        self._followed_until = int(self._navigators.headers()["scan_counter"][: last + 1][-1])

    def _is_between_navigators(self) -> bool:
        """Whether there is a compressed navigator after the chunk that is next."""
        counters = np.concatenate([block.headers["scan_counter"] for block in self._waiting])
        return int(counters[CHUNK - 1]) < self._followed_until

    def _taken(self, n: int) -> list[Readouts]:
        """The next n imaging readouts."""
        taken: list[Readouts] = []
        self._n_waiting -= n
        while n:
            block = self._waiting.pop(0)
            taken.append(block.select(slice(0, n)))
            if len(block) > n:
                self._waiting.insert(0, block.select(slice(n, None)))
            n -= len(taken[-1])
        return taken

    def _project(self, blocks: list[Readouts]) -> None:
        kspace = kspace_of(blocks, self._spaces[0], self._context.device)
        compressed = torch.cat(self._compressed, 1)
        counters = [
            headers["scan_counter"].astype(np.int64)
            for headers in (self._navigators.headers(), kspace.headers)
        ]
        known, wanted = map(torch.from_numpy, counters)
        rows = at_times(compressed, known[: compressed.shape[1]], wanted).to(kspace.data.device)
        if self._sums is None:
            weights = mean_density(kspace.trajectory) * len(kspace.headers)
            limit = self._spaces[0].limits.get("kspace_encode_step_1")
            rotated = rotated_readouts(kspace.trajectory, kspace.shape, limit.maximum + 1 if limit else None)
            sums, kernel = FeatureSums(kspace.shape, rotated), KernelSums(kspace.shape, rotated, weights)
            self._sums = sums, kernel, weights
        sums, kernel, weights = self._sums
        sums.add(kspace.data * weights, kspace.trajectory, rows)
        kernel.add(kspace.trajectory, rows)
        self._n_added += len(kspace.headers)
        if len(self._calibrating) < N_CALIBRATING:
            self._calibrating.append(kspace)
            if len(self._calibrating) == N_CALIBRATING:
                self._calibrate()

    def _calibrate(self) -> None:
        first = self._calibrating[0]
        pooled = NonCartesianKSpace(
            data=torch.cat([kspace.data for kspace in self._calibrating], 1),
            trajectory=torch.cat([kspace.trajectory for kspace in self._calibrating]),
            headers=np.concatenate([kspace.headers for kspace in self._calibrating]),
            header=first.header,
            encoding=first.encoding,
        )
        self._coil_maps = with_coil_maps(pooled, CoilMaps(n_maps=1), PerSlice()).coil_maps[0]

    def _missing(self) -> Iterator[str]:
        limit = self._spaces[0].limits.get("kspace_encode_step_1")
        if limit is not None and self._n_added < limit.maximum + 1:
            yield f"{limit.maximum + 1 - self._n_added} of {limit.maximum + 1} readouts missing"

    def _lost(self, compressed: torch.Tensor) -> Iterator[str]:
        """What the compression left out, beyond noise, where that is known."""
        if not self._navigators.noise_std:
            return
        courses = self._navigators.courses()
        n_left_out = courses.shape[1] - len(compressed)
        left_out = float(courses.double().square().sum() - compressed.double().square().sum())
        noise = self._navigators.noise_std**2 * len(courses) * n_left_out
        share = (left_out - noise) / float(courses.double().square().sum())
        if share > MAX_LOST:
            yield LOST_NOTE.format(100 * share, self._n_learning)
