"""One step of learning, as Lightning asks for it."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import lightning.pytorch as pl
import torch

from recon_core.engine.slices import Slices, at_intensity
from recon_core.nets.guide import guide_magnitudes
from recon_core.nets.undersampled import Undersampled
from recon_core.training.evaluation import scores
from recon_core.training.examples import Batch
from recon_core.training.losses import attention_transfer, hybrid_loss, image_loss
from recon_core.training.recipe import Stage


class Learning(pl.LightningModule):
    """A network, what of it is trained, and the loss of its stage. Adam (Kingma & Ba 2015, arXiv:1412.6980).

    Parameters of an anatomy have no gradient in a step on another's batch, and Adam then leaves them and
    their moments alone.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        stage: Stage,
        trained: Iterable[torch.nn.Parameter],
        teachers: Mapping[str, torch.nn.Module],
    ) -> None:
        super().__init__()
        self.network, self._stage = network, stage
        self._trained = list(trained)
        network.requires_grad_(False)
        for parameter in self._trained:
            parameter.requires_grad_(True)
        self._at_rest = [(p, p.detach().clone()) for p in network.parameters() if not p.requires_grad]
        # Not as modules: checkpoints are to hold what is learnt only.
        self._teachers = [dict(teachers)]

    def training_step(self, batch: Batch, step: int) -> torch.Tensor:
        """The loss of one batch."""
        undersampled, scale = batch.undersampled.normalised()
        target = at_intensity(batch.target, 1 / scale)
        loss = self._stage.loss
        if loss.attention:
            image, features = self.network.forward_with_features(undersampled, batch.anatomy)  # type: ignore[operator]
            with torch.no_grad():
                teacher = self._teachers[0][batch.anatomy].to(self.device)
                _, taught = teacher.forward_with_features(undersampled, batch.anatomy)  # type: ignore[operator]
            value = image_loss(loss, image, target) + loss.attention * attention_transfer(features, taught)
        elif loss.hybrid and isinstance(undersampled, Undersampled):
            stages = self.network.stages(undersampled)  # type: ignore[operator]
            hybrid = hybrid_loss(stages, target, guide_magnitudes(undersampled), loss.alpha, loss.beta)
            value = image_loss(loss, stages[-1].target, target) + loss.hybrid * hybrid
        else:
            value = image_loss(loss, self._image(undersampled, batch.anatomy), target)
        if loss.weights:
            value = value + loss.weights * sum(p.square().sum() for p in self._trained)
        if loss.absolute_weights:
            value = value + loss.absolute_weights * sum(p.abs().sum() for p in self._trained)
        self.log(f"loss/{batch.anatomy}", value.detach(), batch_size=len(batch.target))
        return value

    def _image(self, undersampled: Slices, anatomy: str) -> torch.Tensor:
        depth = self._stage.depth
        if self._stage.trains == "subnetwork":
            return self.network.subnetwork_image(undersampled, depth)  # type: ignore[operator, no-any-return]
        if depth is not None:
            return self.network(undersampled, anatomy, depth)  # type: ignore[no-any-return]
        return self.network(undersampled, anatomy)  # type: ignore[no-any-return]

    def validation_step(self, batch: Batch, step: int) -> None:
        """Scores of one held-out slice, to be watched only."""
        undersampled, scale = batch.undersampled.normalised()
        image = at_intensity(self._image(undersampled, batch.anatomy), scale)
        for metric, value in scores(image, batch.target).items():
            self.log(f"{metric}/{batch.anatomy}", value, batch_size=1, on_epoch=True)

    def on_train_end(self) -> None:
        """A running mean rounds what is at rest too: that is put back, bit for bit."""
        for parameter, value in self._at_rest:
            parameter.data.copy_(value)

    def configure_optimizers(self) -> Any:
        """Adam on what is trained."""
        stage = self._stage
        optimiser = torch.optim.Adam(
            self._trained, lr=stage.learning_rate, betas=stage.betas, weight_decay=stage.weight_decay
        )
        if stage.schedule == "constant" and not stage.warm_up_steps:
            return optimiser
        n_steps = int(self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(stage, step, n_steps))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, number: int) -> Batch:
        """Batches are frozen records, which know how to move themselves."""
        return batch.to(device)


def _rate(stage: Stage, step: int, n_steps: int) -> float:
    """The learning rate of a step, over the stage's."""
    rising = min(1.0, (step + 1) / (stage.warm_up_steps + 1))
    if stage.schedule == "constant":
        return rising
    return rising * (1 + math.cos(math.pi * min(step / n_steps, 1))) / 2
