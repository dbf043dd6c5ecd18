"""Feature maps by a network, or by ADMM, which says that it is."""

from collections.abc import Iterable, Iterator

from gadgets.anatomy import anatomy_of
from gadgets.feature_records import FeatureSeries, FeatureSpace
from gadgets.gadget import Context, Gadget
from gadgets.mrd_images import FALLBACK
from gadgets.network_reconstruction import provenance
from gadgets.reconstructed import METHOD
from gadgets.subspace_reconstruction import SubspaceReconstruction, feature_series, solved
from recon_core.coils.combine import sense_combine
from recon_core.errors import InputError, ReconstreamError
from recon_core.nets.feature_maps import FeatureMaps


class FeatureNetwork(Gadget, frozen=True):
    """Feature maps by a network of the temporal feature space, from the subspace backprojection.

    Where there is no such model package, the network fails, or the package says that the scan is none it was
    made for, the maps are those of `SubspaceReconstruction`. Notes say why, and meta and series description
    of every image that it is a fallback.
    """

    accepts = FeatureSpace
    emits = FeatureSeries

    model: str = "multitasking"
    """Name of the model package."""
    anatomy: str = ""
    """As the package calls it; if not given, that of the header's bodyPartExamined."""
    allow_out_of_range: bool = False
    """Let the network have scans that the package's gate refuses; the notes say what it was not made for."""
    timeout_s: float = 60.0
    """What a slice may take, waiting for other sessions included."""
    fallback_iterations: int = 10
    """Of the fallback, `SubspaceReconstruction.n_iterations`."""

    @property
    def models(self) -> tuple[str, ...]:
        return (self.model,)

    def __call__(self, items: Iterable[FeatureSpace], context: Context) -> Iterator[FeatureSeries]:
        for space in items:
            try:
                series = self._network_series(space, context)
            except (ReconstreamError, RuntimeError, MemoryError) as error:  # torch raises RuntimeError
                context.logger.debug("no feature maps of model '%s'", self.model, exc_info=error)
                reason = str(error) if isinstance(error, ReconstreamError) else repr(error)
            else:
                yield series
                continue
            # Beyond the except, which would keep the arrays of the failed network.
            yield self._fallback_series(space, reason, context)

    def _network_series(self, space: FeatureSpace, context: Context) -> FeatureSeries:
        if context.engine is None:
            raise InputError(f"model '{self.model}': expected an engine to run it, got none")
        if space.images.shape[2] != 1:
            raise InputError(f"model '{self.model}': expected one slice, got {space.images.shape[2]}")
        context.engine.package(self.model)
        backprojection = sense_combine(space.images, space.coil_maps)
        slices = FeatureMaps(
            maps=backprojection[None, :, 0],
            adjoint=space.right_hand_side[None, :, 0],
            normals=(space.normal_op,),
        )
        anatomy = self.anatomy or anatomy_of(context.header)
        reasons = context.engine.check(self.model, slices, anatomy=anatomy)
        result = context.engine.reconstruct(
            self.model,
            slices,
            anatomy=anatomy,
            priority=context.priority,
            timeout_s=self.timeout_s,
            allow_out_of_range=self.allow_out_of_range,
        )
        notes = [f"out of the range of model '{result.model}': {'; '.join(reasons)}"] if reasons else []
        meta = {METHOD: f"network {result.model}", **provenance([result])}
        return feature_series(space, result.image[0][:, None], meta, *notes)

    def _fallback_series(self, space: FeatureSpace, reason: str, context: Context) -> FeatureSeries:
        series = solved(space, SubspaceReconstruction(n_iterations=self.fallback_iterations))
        note = f"{reason}; fallback: {series.meta[METHOD]}"
        context.logger.warning("%s", note)
        return feature_series(space, series.maps, {**series.meta, FALLBACK: "true"}, note)
