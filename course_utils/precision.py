"""In which precision does a network run fastest without learning worse?

bfloat16 keeps the range of float32 and a quarter of its digits. Processors and graphics cards that multiply
matrices of bfloat16 do so several times as fast. The weights stay in float32, and so does what is summed:
this is *mixed precision* (Micikevicius et al., 2017, arXiv:1710.03740; with bfloat16: Kalamkar et al., 2019,
arXiv:1905.12322).
"""

import torch


def multiplies_bfloat16(device: torch.device) -> bool:
    """Return whether the device has instructions of its own for matrices of bfloat16."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        has = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(has.get("avx512_bf16") or has.get("amx_bf16") or has.get("amx_tile") or has.get("bf16"))
    return False


def mixed_precision(device: torch.device) -> torch.autocast:
    """Return a context in which convolutions and linear layers run in bfloat16, if the device is faster so.

    Elsewhere it changes nothing. Use it around the forward pass; gradients follow by themselves. It may
    also be held for a whole epoch: autocast would keep the weights of its first step in bfloat16 until its
    end, and the network would be asked with old weights after every step, so that memory is switched off.
    """
    fast = multiplies_bfloat16(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=fast, cache_enabled=False)
