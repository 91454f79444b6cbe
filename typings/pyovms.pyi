# What a handler imports as `pyovms`: the server puts the module there at run time.
from ovms_mp.calculator.pyovms import Tensor as Tensor
