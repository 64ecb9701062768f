"""The contracts between the core and plugins. They depend only on torch and typing.

N samples; R rows = all views of a batch, stacked view by view; K classes; L sources of evidence.
"""

from ffcore.interfaces.algorithm import Algorithm
from ffcore.interfaces.batch import Batch
from ffcore.interfaces.batch_rng import BatchRNG
from ffcore.interfaces.blackbox import BlackBox
from ffcore.interfaces.body import ClosedForm
from ffcore.interfaces.circuit import Circuit, MakeBlock
from ffcore.interfaces.component import Component, Progress
from ffcore.interfaces.context import Context, Statistics
from ffcore.interfaces.contribution import LayerContribution
from ffcore.interfaces.goodness import Goodness
from ffcore.interfaces.inputs import Augmentation, LabelCode, NegativeData
from ffcore.interfaces.items import Items
from ffcore.interfaces.layer_rule import LayerRule
from ffcore.interfaces.loss import LocalLoss, Objective, Penalty
from ffcore.interfaces.network import Block, Network, Observer, Source
from ffcore.interfaces.ranks import ALONE, Idle, Ranks, ranks, shared_by
from ffcore.interfaces.readout import Readout
from ffcore.interfaces.rule import LearningRule
from ffcore.interfaces.schedule import Schedule
from ffcore.interfaces.task import Task
from ffcore.interfaces.turns import Turn, Turns
from ffcore.interfaces.unlabelled import Unlabelled
from ffcore.interfaces.views import LabelledInput, Out, Views, dense

__all__ = [
    "ALONE",
    "Algorithm",
    "Augmentation",
    "Batch",
    "BatchRNG",
    "BlackBox",
    "Block",
    "Circuit",
    "ClosedForm",
    "Component",
    "Context",
    "Goodness",
    "Idle",
    "Items",
    "LabelCode",
    "LabelledInput",
    "LayerContribution",
    "LayerRule",
    "LearningRule",
    "LocalLoss",
    "MakeBlock",
    "NegativeData",
    "Network",
    "Objective",
    "Observer",
    "Out",
    "Penalty",
    "Progress",
    "Ranks",
    "Readout",
    "Schedule",
    "Source",
    "Statistics",
    "Task",
    "Turn",
    "Turns",
    "Unlabelled",
    "Views",
    "dense",
    "ranks",
    "shared_by",
]
