"""Memory slots into keys and values (DM-GAN, section 3.1): what pixels compare themselves with, and what they read."""

from __future__ import annotations

from torch import Tensor

from memgan.backends import dispatch
from memgan.ops._checks import autocast, check_floating, check_shape


def memory_project(
    memory: Tensor, key_weight: Tensor, key_bias: Tensor, value_weight: Tensor, value_bias: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Project memory slots into keys and values.

    .. math:: k_l = [M_k m_l + b_k]_+, \qquad v_l = [M_v m_l + b_v]_+

    Args:
        memory: slots, ``(B, L, M)``, floating point.
        key_weight, key_bias: :math:`M_k`, ``(C, M)`` and ``(C,)``.
        value_weight, value_bias: :math:`M_v`, ``(D, M)`` and ``(D,)``.

    Returns:
        Keys, ``(B, L, C)``, and values, ``(B, L, D)``.

    Raises:
        ShapeError, DtypeError, DeviceError: the message names the argument.
        BackendUnavailable: a backend was forced and cannot run this input.

    Source: :math:`\phi_K` and :math:`\phi_V` of equations 4 and 5 of the paper; the ReLUs are the release's. First
    and second derivatives for every floating argument.

    >>> import torch
    >>> keys, values = memory_project(torch.ones(2, 7, 5), torch.ones(3, 5), torch.zeros(3),
    ...                               torch.ones(11, 5), torch.ones(11))
    >>> keys.shape, values[0, 0, 0]
    (torch.Size([2, 7, 3]), tensor(6.))
    """
    op = "memory_project"
    check_shape(op, "memory", memory, (None, None, None), "(B, L, M)")
    width = memory.shape[2]
    check_shape(op, "key_weight", key_weight, (None, width), "(C, M)")
    check_shape(op, "key_bias", key_bias, (key_weight.shape[0],), "(C,)")
    check_shape(op, "value_weight", value_weight, (None, width), "(D, M)")
    check_shape(op, "value_bias", value_bias, (value_weight.shape[0],), "(D,)")
    cast = autocast(memory, key_weight, key_bias, value_weight, value_bias)
    names = ("memory", "key_weight", "key_bias", "value_weight", "value_bias")
    check_floating(op, **dict(zip(names, cast)))
    result: tuple[Tensor, Tensor] = dispatch.call(op, *cast)
    return result
