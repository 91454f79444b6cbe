"""The SDK: all that the author of a calculator ever imports."""

from ovms_mp.calculator.base import Calculator, CalculatorError, ContractError, NodeInfo
from ovms_mp.calculator.context import EMPTY, Context
from ovms_mp.calculator.foreseen import Foreseen
from ovms_mp.calculator.ports import (
    ANY_TAG,
    Input,
    InputPort,
    Inputs,
    Options,
    Output,
    OutputPort,
    Outputs,
    SideInput,
    SideInputs,
    SideOutput,
    SideOutputs,
    SidePort,
    tagged,
)
from ovms_mp.calculator.services import (
    InferenceSession,
    Models,
    RunSessions,
    Services,
)
from ovms_mp.core.messages import TensorInfo

__all__ = (
    "ANY_TAG",
    "EMPTY",
    "Calculator",
    "CalculatorError",
    "Context",
    "ContractError",
    "Foreseen",
    "InferenceSession",
    "Input",
    "InputPort",
    "Inputs",
    "Models",
    "NodeInfo",
    "Options",
    "Output",
    "OutputPort",
    "Outputs",
    "RunSessions",
    "Services",
    "SideInput",
    "SideInputs",
    "SideOutput",
    "SideOutputs",
    "SidePort",
    "TensorInfo",
    "tagged",
)
