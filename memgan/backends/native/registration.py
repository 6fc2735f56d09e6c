"""The ops that torch knows by name: schemas, the definition as every device's default, shapes, derivatives.

Compiled kernels replace the default on their device when their library is loaded; nothing else changes then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from memgan.backends import reference
from memgan.backends.native import formulas
from memgan.backends.native.derivatives import DERIVATIVES, Derivatives

_READ = "Tensor image_features, Tensor keys, Tensor values, Tensor? word_mask"
_REFINE = f"{_READ}, Tensor gate_weight, Tensor gate_bias"
_WRITE = (
    "Tensor words, Tensor image_summary, Tensor word_weight, Tensor word_bias, Tensor image_weight,"
    " Tensor image_bias, Tensor gate_word, Tensor gate_image, Tensor? word_mask"
)
_NORM = "Tensor x, Tensor weight, Tensor bias"
_OPTIONS = "float scale, bool return_attention, bool allow_tf32"
SCHEMAS = (
    f"memory_read_forward({_READ}, {_OPTIONS}) -> (Tensor, Tensor)",
    f"memory_read_backward(Tensor grad_read, Tensor? grad_attention, {_READ}, float scale, bool allow_tf32)"
    " -> (Tensor, Tensor, Tensor)",
    f"memory_refine_forward({_REFINE}, {_OPTIONS}) -> (Tensor, Tensor)",
    f"memory_refine_backward(Tensor grad_features, Tensor? grad_attention, {_REFINE}, float scale, bool allow_tf32)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    f"memory_write_forward({_WRITE}) -> Tensor",
    f"memory_write_backward(Tensor grad_memory, {_WRITE}) -> ({', '.join(['Tensor'] * 8)})",
    "memory_project_forward(Tensor memory, Tensor key_weight, Tensor key_bias, Tensor value_weight,"
    " Tensor value_bias) -> (Tensor, Tensor)",
    "memory_project_backward(Tensor grad_keys, Tensor grad_values, Tensor memory, Tensor key_weight,"
    f" Tensor value_weight, Tensor keys, Tensor values) -> ({', '.join(['Tensor'] * 5)})",
    f"norm_glu_forward({_NORM}, float eps) -> (Tensor, Tensor, Tensor)",
    f"norm_glu_backward(Tensor grad, {_NORM}, Tensor mean, Tensor var, float eps) -> (Tensor, Tensor, Tensor)",
)
LIBRARY = torch.library.Library("memgan", "DEF")  # kept alive: its death would take the ops with it


def empty_pixels(like: Tensor, channels: int) -> Tensor:
    """A (B, channels, H, W) that lies in memory as the kernels' results do: as ``like``, dense."""
    last = like.stride(1) == 1 and like.shape[1] > 1 and _pixel_stride(like) not in (None, 1)
    layout = torch.channels_last if last else torch.contiguous_format
    return like.new_empty((like.shape[0], channels, *like.shape[2:])).contiguous(memory_format=layout)


def _pixel_stride(tensor: Tensor) -> int | None:
    """The stride of all pixels, or None where rows of pixels do not follow each other."""
    height, width = tensor.shape[2:]
    if height > 1 and width > 1 and tensor.stride(2) != width * tensor.stride(3):
        return None
    return tensor.stride(3) if width > 1 else tensor.stride(2)


def _pair(result: tuple[Tensor, Tensor | None], features: Tensor) -> tuple[Tensor, Tensor]:
    """At this level attention is a tensor always: of no words when it was not asked for."""
    out, attention = result
    out = _laid_out(out, features)
    if attention is None:
        attention = features.new_empty((features.shape[0], 0, *features.shape[2:]))
    return out, attention.contiguous()


def _laid_out(result: Tensor, like: Tensor) -> Tensor:
    wanted = empty_pixels(like, result.shape[1])
    return result if result.stride() == wanted.stride() else wanted.copy_(result)


def _read_forward(
    features: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None,
    scale: float,
    attention: bool,
    tf32: bool,
) -> tuple[Tensor, Tensor]:
    result = reference.memory_read(features, keys, values, mask, scale=scale, return_attention=attention)
    return _pair(result, features)


def _read_backward(grad: Tensor, grad_attention: Tensor | None, *inputs: Any) -> tuple[Tensor, ...]:
    of_features, *rest = formulas.read_backward(grad, grad_attention, *inputs[:-1])
    return (_laid_out(of_features, inputs[0]), *(x.contiguous() for x in rest))


def _refine_forward(
    features: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    scale: float,
    attention: bool,
    tf32: bool,
) -> tuple[Tensor, Tensor]:
    result = reference.memory_refine(
        features, keys, values, mask, weight, bias, scale=scale, return_attention=attention
    )
    return _pair(result, features)


def _refine_backward(grad: Tensor, grad_attention: Tensor | None, *inputs: Any) -> tuple[Tensor, ...]:
    of_features, *rest = formulas.refine_backward(grad, grad_attention, *inputs[:-1])
    return (_laid_out(of_features, inputs[0]), *(x.contiguous() for x in rest))


def _write_forward(*inputs: Any) -> Tensor:
    return reference.memory_write(*inputs).contiguous()


def _write_backward(*inputs: Any) -> tuple[Tensor, ...]:
    return tuple(x.contiguous() for x in formulas.write_backward(*inputs))


def _fake_write_forward(words: Tensor, image_summary: Tensor, word_weight: Tensor, *rest: Any) -> Tensor:
    return words.new_empty((*words.shape[:2], word_weight.shape[0]))


def _fake_write_backward(grad_memory: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
    return tuple(x.new_empty(x.shape) for x in inputs[:-1])


def _project_forward(*inputs: Tensor) -> tuple[Tensor, Tensor]:
    keys, values = reference.memory_project(*inputs)
    return keys.contiguous(), values.contiguous()


def _project_backward(*inputs: Tensor) -> tuple[Tensor, ...]:
    return tuple(x.contiguous() for x in formulas.project_backward(*inputs))


def _fake_project_forward(
    memory: Tensor, key_weight: Tensor, key_bias: Tensor, value_weight: Tensor, value_bias: Tensor
) -> tuple[Tensor, Tensor]:
    keys = memory.new_empty((*memory.shape[:2], key_weight.shape[0]))
    return keys, memory.new_empty((*memory.shape[:2], value_weight.shape[0]))


def _fake_project_backward(
    grad_keys: Tensor,
    grad_values: Tensor,
    memory: Tensor,
    key_weight: Tensor,
    value_weight: Tensor,
    *rest: Tensor,
) -> tuple[Tensor, ...]:
    sizes = (memory.shape, key_weight.shape, key_weight.shape[:1], value_weight.shape, value_weight.shape[:1])
    return tuple(memory.new_empty(size) for size in sizes)


def _norm_glu_forward(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    var, mean = torch.var_mean(x.to(weight.dtype), (0, 2, 3), correction=0)
    unused = torch.zeros_like(mean), torch.ones_like(var)
    out = reference.norm_glu(x, weight, bias, *unused, momentum=0.0, eps=eps)
    return _laid_out(out, x), mean, var


def _norm_glu_backward(grad: Tensor, x: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    of_x, *others = formulas.norm_glu_backward(grad, x, *rest)
    return (_laid_out(of_x, x), *others)


def _fake_norm_glu_forward(x: Tensor, weight: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    return empty_pixels(x, x.shape[1] // 2), weight.new_empty(weight.shape), weight.new_empty(weight.shape)


def _fake_norm_glu_backward(grad: Tensor, x: Tensor, weight: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    return empty_pixels(x, x.shape[1]), weight.new_empty(weight.shape), weight.new_empty(weight.shape)


def _fake_forward(
    features: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, *rest: Any
) -> tuple[Tensor, Tensor]:
    words = keys.shape[1] if rest[-2] else 0
    out = empty_pixels(features, values.shape[2])
    return out, features.new_empty((features.shape[0], words, *features.shape[2:]))


def _fake_backward(
    grad: Tensor, grad_attention: Tensor | None, features: Tensor, keys: Tensor, *rest: Any
) -> tuple[Tensor, ...]:
    values, _, *gate = rest[:-2]
    out = [empty_pixels(features, features.shape[1]), *(x.new_empty(x.shape) for x in (keys, values, *gate))]
    return tuple(out)


def _one_by_one(name: str) -> Callable[..., tuple[Any, Any]]:
    """The op over a batch of calls: gates may differ from call to call, and each call has gradients of its own."""

    def calls(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Any, Any]:
        op = getattr(torch.ops.memgan, name)
        results = [
            op(*(arg if dim is None else arg.select(dim, index) for arg, dim in zip(args, in_dims)))
            for index in range(info.batch_size)
        ]
        if isinstance(results[0], Tensor):
            return torch.stack(results), 0
        stacked = tuple(torch.stack(parts) for parts in zip(*results))
        return stacked, (0,) * len(stacked)

    return calls


def register() -> None:
    """Define the ops. Called once, when this module is imported."""
    for schema in SCHEMAS:
        LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    defaults: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
        "memory_read_forward": (_read_forward, _fake_forward),
        "memory_read_backward": (_read_backward, _fake_backward),
        "memory_refine_forward": (_refine_forward, _fake_forward),
        "memory_refine_backward": (_refine_backward, _fake_backward),
        "memory_write_forward": (_write_forward, _fake_write_forward),
        "memory_write_backward": (_write_backward, _fake_write_backward),
        "memory_project_forward": (_project_forward, _fake_project_forward),
        "memory_project_backward": (_project_backward, _fake_project_backward),
        "norm_glu_forward": (_norm_glu_forward, _fake_norm_glu_forward),
        "norm_glu_backward": (_norm_glu_backward, _fake_norm_glu_backward),
    }
    for name, (default, fake) in defaults.items():
        LIBRARY.impl(name, default, "CompositeExplicitAutograd")
        torch.library.register_fake(f"memgan::{name}", fake, lib=LIBRARY)
        torch.library.register_vmap(f"memgan::{name}", _one_by_one(name), lib=LIBRARY)
    for op in DERIVATIVES:
        calls = Derivatives.of(op, getattr(torch.ops.memgan, f"{op}_backward"))
        for name, backward, save in (
            (f"memgan::{op}_forward", calls.forward_backward, calls.save_forward),
            (f"memgan::{op}_backward", calls.backward_backward, calls.save_backward),
        ):
            torch.library.register_autograd(name, backward, setup_context=save, lib=LIBRARY)


register()
