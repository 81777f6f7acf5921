"""Small specs that between them use every part of the U-Net."""

from typing import Any

STFT = {"n_fft": 128, "hop_length": 64}
ENCODER = [
    {"filters": 6, "kernel": [1, 8], "stride": [1, 4], "norm": "batch"},
    {"filters": 6, "residual": True, "norm": "layer", "activation": "silu"},
]
BASE: dict[str, Any] = {"stft": STFT, "encoder": ENCODER}


def _recurrent(**keys: Any) -> dict[str, Any]:
    return {"kind": "recurrent", "bands": 5, "channels": 8, "full_band_units": 10, "heads": 2, **keys}


SPECS: dict[str, dict[str, Any]] = {
    "full_band": {**BASE, "bottleneck": _recurrent(across_bands="full_band")},
    "attention": {**BASE, "bottleneck": _recurrent(across_bands="attention", norm="layer")},
    "gru": {**BASE, "bottleneck": _recurrent(across_bands="gru", bands=None, blocks=1)},
    "one_way_not_causal": {
        **BASE, "causal": False, "bottleneck": _recurrent(across_bands="full_band", blocks=1),
    },
    "bidirectional": {
        **BASE, "causal": False, "bottleneck": _recurrent(across_bands="none", blocks=1, bidirectional=True),
    },
    "dilated": {**BASE, "bottleneck": {"kind": "dilated", "channels": 8}},
    "pooled_decibel_noise": {
        "stft": STFT, "causal": False, "upsampling": "nearest", "skip": {"kind": "add"},
        "input": {"representation": "decibel"}, "output": {"kind": "noise", "activation": "tanh"},
        "encoder": [
            {"filters": 4, "kernel": [3, 3], "pool": [2, 2], "convolutions": 2},
            {"filters": 6, "kernel": [3, 3], "pool": [2, 2]},
        ],
        "bottleneck": {"kind": "convolution", "stages": [{"filters": 8, "kernel": [3, 3], "dropout": 0.3}]},
    },
    "scaled_decibel_noise": {  # a stage behind the decoder, and dropout inside a stage
        "stft": STFT, "causal": False, "upsampling": "nearest",
        "input": {"representation": "decibel", "scaling": {"mean_db": -46, "scale_db": 50}},
        "output": {
            "kind": "noise", "activation": "tanh", "scaling": {"mean_db": 6, "scale_db": 82},
            "stages": [{"filters": 2, "kernel": [3, 3], "activation": "leaky_relu"}],
        },
        "encoder": [
            {"filters": 4, "kernel": [3, 3], "pool": [2, 2], "convolutions": 2, "dropout": 0.2,
             "dropout_position": "inside"},
        ],
        "bottleneck": {"kind": "convolution", "stages": [{"filters": 5, "kernel": [3, 3]}]},
        "decoder": [{"filters": 4, "kernel": [3, 3], "up_kernel": [2, 2]}],
    },
    "repeated_decibel_spectrogram": {
        "stft": STFT, "causal": False, "upsampling": "repeat", "skip": {"kind": "add", "position": "after"},
        "input": {"representation": "decibel", "range_db": [-120, 0]},
        "output": {"kind": "spectrogram", "activation": "sigmoid", "kernel": [3, 3]},
        "encoder": [{"filters": 4, "kernel": [3, 3], "pool": [2, 2], "activation": "relu"}],
        "bottleneck": {"kind": "convolution", "stages": [{"filters": 5, "kernel": [3, 3]}]},
    },
    "repeated_strides": {
        "stft": STFT, "upsampling": "repeat",
        "encoder": [{"filters": 4, "kernel": [1, 5], "stride": [1, 3]}, {"filters": 6}],
        "bottleneck": {"kind": "dilated", "channels": 6},
    },
    "norms_at_the_end": {
        "stft": STFT, "causal": False, "input": {"representation": "magnitude"},
        "output": {"kind": "magnitude_mask", "activation": "sigmoid"},
        "encoder": [
            {"filters": 4, "kernel": [3, 3], "pool": [2, 2], "convolutions": 2, "norm": "batch",
             "norm_position": "end", "dropout": 0.1, "dropout_position": "inside"},
        ],
        "bottleneck": {"kind": "convolution", "stages": [
            {"filters": 5, "kernel": [3, 3], "norm": "layer", "norm_position": "end", "dropout": 0.1},
            {"filters": 5, "kernel": [2, 2]},
        ]},
        "decoder": [
            {"filters": 4, "convolutions": 0, "up_kernel": [2, 2], "norm": "batch", "norm_position": "end"},
        ],
    },
    "strides_before_output_stages": {
        **BASE, "bottleneck": {"kind": "dilated", "channels": 6},
        "output": {"stages": [{"filters": 5, "kernel": [1, 3]}]},
    },
    "time_strides": {
        "stft": STFT, "causal": False, "output": {"kernel": [3, 1]},
        "encoder": [
            {"filters": 4, "kernel": [4, 3], "stride": [2, 2]},
            {"filters": 5, "kernel": [3, 3], "stride": [3, 1], "activation": "relu"},
        ],
        "bottleneck": {"kind": "dilated", "channels": 6, "dilations": [1, 2]},
    },
    "even_kernels": {  # each looks one frame ahead and none back
        "stft": STFT, "causal": False,
        "encoder": [{"filters": 4, "kernel": [2, 3]}, {"filters": 4, "kernel": [2, 3]}],
        "bottleneck": {"kind": "convolution", "stages": [{"filters": 4, "kernel": [2, 1]}] * 3},
    },
    "causal_time_kernels": {
        "stft": STFT, "input": {"representation": "magnitude_complex"},
        "output": {"kind": "magnitude_mask", "activation": "sigmoid"}, "skip": {"position": "after"},
        "encoder": [
            {"filters": 6, "kernel": [3, 5], "stride": [1, 2], "activation": "leaky_relu"},
            {"filters": 6, "kernel": [2, 3], "activation": "gelu"},
        ],
        "bottleneck": {"kind": "convolution", "stages": [{"filters": 7, "kernel": [3, 3]}]},
    },
    "magnitude_spectrogram": {
        **BASE, "input": {"representation": "magnitude"},
        "output": {"kind": "spectrogram", "activation": "softplus"},
        "bottleneck": {"kind": "dilated", "channels": 8},
    },
    "magnitude_complex_noise": {
        **BASE, "input": {"representation": "magnitude_complex"}, "output": {"kind": "noise"},
        "bottleneck": {"kind": "dilated", "channels": 8, "kernel": [2, 3]},
    },
    "complex_spectrogram_without_skips": {
        **BASE, "output": {"kind": "spectrogram", "domain": "linear"}, "skip": {"kind": "none"},
        "bottleneck": {"kind": "dilated", "channels": 8},
    },
}  # fmt: skip
