"""How near to what the processor can do a model runs, and what the rest of the time goes into.

Used by speed.py, whose processes have their threads and cores set. The peak is that of a large product of
matrices in float32 by NumPy's BLAS in the same run: what the best code reaches on this machine, now. A
multiply-accumulate counts as two operations; those of a model are the network's, from its metadata.
"""

import json
import os
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

_SIZE = 2048
_REPETITIONS = 5
_KINDS_SHOWN = 10


def sgemm_flops() -> float:
    """Operations per second of the fastest of a few products of 2048 x 2048 matrices."""
    rng = np.random.default_rng(0)
    left, right = (rng.standard_normal((_SIZE, _SIZE)).astype(np.float32) for _ in range(2))
    result = left @ right
    fastest = float("inf")
    for _ in range(_REPETITIONS):
        begin = time.perf_counter()
        np.matmul(left, right, out=result)
        fastest = min(fastest, time.perf_counter() - begin)
    return 2 * _SIZE**3 / fastest


def profile_denoiser(audio: np.ndarray, sample_rate: int, model: str | None) -> dict[str, Any]:
    """Seconds of `Denoiser.denoise`; of the network run whole, in all and of each kind of operator.

    The operators come from ONNX Runtime's profile in a pass of its own, as writing it takes time.
    """
    import onnxruntime

    from audenoise.denoiser import Denoiser
    from audenoise.network import Network

    threads = int(os.environ["OMP_NUM_THREADS"])
    denoiser = Denoiser.from_preset(model, threads=threads)
    network, spent = denoiser._network, [0.0]
    feeds: list[dict[str, np.ndarray]] = []

    class Timed:
        """The network with a clock, never in halves; everything else is its own."""

        def in_halves(self, batch: int) -> bool:
            return False

        def __getattr__(self, name: str) -> Any:
            return getattr(network, name)

        def run(self, noisy: np.ndarray, states: Any, ahead: int) -> Any:
            feeds.append({name: value.copy() for name, value in network.values(noisy, states, ahead).items()})
            begin = time.perf_counter()
            result = Network.run(network, noisy, states, ahead)
            spent[0] += time.perf_counter() - begin
            return result

    network.expect(1e9)  # as after the first minutes
    denoiser.denoise(audio[: 4 * sample_rate], sample_rate)
    begin = time.perf_counter()
    denoiser.denoise(audio, sample_rate)
    seconds = time.perf_counter() - begin
    denoiser._network = Timed()  # type: ignore[assignment]
    denoiser.denoise(audio[: 4 * sample_rate], sample_rate)
    spent[0], feeds[:] = 0.0, []
    begin = time.perf_counter()
    denoiser.denoise(audio, sample_rate)
    whole_seconds = time.perf_counter() - begin
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.enable_profiling = True
    options.profile_file_prefix = f"audenoise_profile_{os.getpid()}"
    session = onnxruntime.InferenceSession(
        denoiser.preset.read_file("model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    for feed in feeds:
        session.run(["denoised"], feed)
    path = Path(session.end_profiling())
    try:
        events = json.loads(path.read_text())
    finally:
        path.unlink()
    kinds: dict[str, float] = defaultdict(float)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            kinds[event["args"]["op_name"]] += event["dur"] / 1e6
    return {
        "seconds": seconds,
        "whole_seconds": whole_seconds,
        "network_seconds": spent[0],
        "operator_seconds": dict(sorted(kinds.items(), key=lambda item: -item[1])),
        "macs": denoiser.preset.metadata["macs_per_second"] * len(audio) / sample_rate,
    }


def efficiency_table(result: dict[str, Any]) -> str:
    """Markdown of what speed.py's part `efficiency` collected."""
    if result["failures"]:
        return "\n".join(f"Not measured: {name}: {why}" for name, why in result["failures"].items())
    cores = result["cores"]
    titles = [f"{count} core{'s' * (count != '1')}" for count in cores]
    rows: dict[str, list[str]] = defaultdict(list)
    kinds = list(next(iter(cores.values()))["operator_seconds"])[:_KINDS_SHOWN]
    for each in cores.values():
        flops = 2 * each["macs"]
        rows["peak, large matrix product, GFLOP/s"].append(f"{each['flops'] / 1e9:.0f}")
        for name, key in (("the network as a whole", "network_seconds"), ("`Denoiser.denoise`", "seconds")):
            reached = flops / each[key]
            rows[f"{name}, GFLOP/s (share of the peak)"].append(
                f"{reached / 1e9:.1f} ({100 * reached / each['flops']:.0f} %)"
            )
        outside = 1 - each["network_seconds"] / each["whole_seconds"]
        rows["outside the network: Fourier transforms and Python"].append(f"{100 * outside:.0f} %")
        operators = each["operator_seconds"]
        total = sum(operators.values())
        for kind in kinds:
            rows[f"in the network: {kind}"].append(f"{100 * operators.get(kind, 0.0) / total:.0f} %")
        others = sum(seconds for kind, seconds in operators.items() if kind not in kinds)
        rows["in the network: other operators"].append(f"{100 * others / total:.0f} %")
    lines = [
        f"Efficiency, {result['duration_s']:g} s of one channel at 16 kHz",
        "",
        "| | " + " | ".join(titles) + " |",
        "|---|" + "---:|" * len(titles),
    ]
    return "\n".join([*lines, *(f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows.items())])
